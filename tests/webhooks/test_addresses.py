"""Where webhooks may lead: every spelling of an address that is not everybody's is found out."""

import socket

import pytest
from marshmallow import ValidationError

from fw.webhooks.addresses import is_public
from fw.webhooks.fields import WebhookUrl, why_refused

PUBLIC = (
    *(
        "8.8.8.8",
        "1.1.1.1",
        "93.184.216.34",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "223.255.255.255",
    ),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "64:ff9b::808:808", "2620:fe::fe"),
)
SPECIAL = (
    # IPv4
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("168.63.129.16", "192.31.196.1", "192.52.193.1", "192.175.48.1"),
    # IPv6
    *("::", "::1", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1"),
    *("2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "5f00::1", "2620:4f:8000::1", "4000::1"),
    # IPv4 in IPv6: mapped, compatible, translated, NAT64 with a private one or of a local prefix, 6to4, Teredo
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "64:ff9b::e000:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001:0:7f00:1::", "2001::80ff:fffe"),
    # No addresses
    *("", "localhost", "127.1", "2130706433", "0x7f.1", "127.0.0.1:80", "[::1]"),
)
LOOPBACKS = (
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "017700000001"),
    *(
        "127.0.0.1.",
        "0x7f.0x0.0x0.0x1",
        "0",
        "0x",
        "00",
        "127.000.000.001",
        "0x7f000001.",
        "４",
        "１２７.０.０.１",
        "127。0。0。1",
    ),
    *(
        "①②⑦.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
    ),
    *(
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:1:2:3:4:80ff:fffe]",
        "[fd00::1]",
        "[::FFFF:7F00:1]",
        "0.0.0.0",
        "[ff02::1]",
    ),
    *(
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "10.1",
        "192.168.1",
        "256.256.256.256",
        "1.2.3.4.5",
    ),
    *("08.8.8.8", "8.8.8", "134744072", "127.0.0.1%00", "%31%32%37.0.0.1", "１２７.１", "0x7f.1.", "127.0.0.0x1"),
)
REFUSED = (
    *(
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///",
    ),
    *("https:example.com", "https:/example.com", "https://?", "https://#", "https://:443/", "https://./", "https://../"),
    # Credentials, fragments
    *("https://ann@example.com/", "https://ann:secret@example.com/", "https://@example.com/", "https://:@example.com/"),
    *("https://example.com@127.0.0.1/", "https://example.com/#part", "https://example.com#"),
    # Ports
    *("https://example.com:0/", "https://example.com:65536/", "https://example.com:x/", "https://example.com:-1/"),
    *("https://example.com:99999999999/", "https://example.com:4 43/", "https://example.com:٤٤٣/"),
    # Characters that parsers differ about
    *("https://example.com\\@127.0.0.1/", "https://example.com /", " https://example.com/", "https://example.com/\r\nX: y"),
    *(
        "https://example.com/a b",
        "https://exa\tmple.com/",
        "https://example.com/\0",
        "https://example.com/\ud800",
        "https://exa<mple.com/",
    ),
    *(
        "https://example.com\u2028/",
        "https://example.com/\x7f",
        "https://[::1",
        "https://::1/",
        "https://[]/",
        "https://[1.2.3.4]/",
    ),
    *(
        "https://exa%6dple.com/",
        "https://-a.example.com/",
        "https://a-.example.com/",
        "https://a..example.com/",
        "https://.example.com/",
    ),
    *(
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 130}com/",
        "https://exa$mple.com/",
        "https://a,b/",
        "https://\u200b/",
    ),
    f"https://example.com/{'a' * 2000}",
    # Its percent-encoded form is too long.
    f"https://example.com/{'é' * 1000}",
)
TAKEN = {
    "https://example.com": "https://example.com",
    "https://EXAMPLE.com:443/A": "https://example.com/A",
    "HTTPS://example.com:8443/a%2Fb?c=d&e=%26": "https://example.com:8443/a%2Fb?c=d&e=%26",
    "https://example.com?b=c@d:e": "https://example.com/?b=c@d:e",
    "https://example.com:1/": "https://example.com:1/",
    "https://example.com:65535/": "https://example.com:65535/",
    "https://bücher.example/ä": "https://xn--bcher-kva.example/%C3%A4",
    "https://BÜCHER.example/": "https://xn--bcher-kva.example/",
    "https://xn--bcher-kva.example/": "https://xn--bcher-kva.example/",
    "https://例え。テスト/": "https://xn--r8jz45g.xn--zckzah/",
    "https://hooks.example.com./": "https://hooks.example.com./",
    "https://a_b.example.com/": "https://a_b.example.com/",
    "https://1password.com/": "https://1password.com/",
    "https://localhost/": "https://localhost/",
    "https://93.184.216.34/": "https://93.184.216.34/",
    "https://[2606:4700:4700::1111]:8443/": "https://[2606:4700:4700::1111]:8443/",
    f"https://example.com/{'a' * 1980}": f"https://example.com/{'a' * 1980}",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_anybody_can_reach(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", SPECIAL)
def test_not_anybody_can_reach(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", LOOPBACKS)
def test_every_spelling_of_an_address_that_is_not_public_is_refused(host: str) -> None:
    try:
        url = WebhookUrl().read(f"https://{host}/")
    except ValidationError:
        return
    assert why_refused(url, allow_private=False)


@pytest.mark.parametrize("host", [host for host in LOOPBACKS if host.isascii() and not host.startswith("[")])
def test_what_the_system_takes_for_an_address_is_none_of_a_name(host: str) -> None:
    """No host that a look-up turns into an address without asking anybody gets through, also on closed networks."""
    try:
        socket.inet_aton(host)
        url = WebhookUrl().read(f"https://{host}/")
    except (OSError, ValidationError):
        return
    assert host in url


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_address_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookUrl().read(url)


@pytest.mark.parametrize("host", ["\ufdfa" * 1900, "\ufdfa" * 81, "a" * 254, f"[{'0' * 254}]"])
def test_a_long_host_is_refused_before_it_is_encoded(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.webhooks.fields.URL", None)
    with pytest.raises(ValidationError, match="too long"):
        WebhookUrl().read(f"https://{host}/")


@pytest.mark.parametrize(("url", "spelled"), TAKEN.items())
def test_what_is_one_has_one_spelling(url: str, spelled: str) -> None:
    assert WebhookUrl().read(url) == spelled
    assert WebhookUrl().read(spelled) == spelled
    assert why_refused(spelled, allow_private=False) == ""


def test_http_is_refused_where_private_addresses_are() -> None:
    assert why_refused("http://example.com/", allow_private=False)
    assert not why_refused("http://example.com/", allow_private=True)
    assert not why_refused("http://127.0.0.1/", allow_private=True)
