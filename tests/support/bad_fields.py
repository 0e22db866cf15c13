"""What is no email, no username, no password and no address of an image."""

from typing import Any

IMAGE = "https://example.com/"

BAD_EMAILS: list[Any] = [
    *("", "a", "a@", "@example.com", "a@b@example.com", "a b@example.com", "a@example", "a@-example.com", "a..b@example.com"),
    *("a@example.com\r\nBcc: b@example.com", "Ann <a@example.com>", "a@[127.0.0.1]", "a@example.com "),
    *(f"a@{'b' * 400}.com", "a\0@example.com", "\ud800@example.com", 1, True, None, ["a@example.com"], {}),
]
BAD_USERNAMES: list[Any] = [
    *("", "ab", "a" * 31, "-ann", "_ann", "ann b", "ann.b", "ann@b", "änn", "ann\n", " ann", "ann\0", "\udfffann", "ＡＮＮ"),
    *("١٢٣", 123, True, None, ["ann"], {}),
]
BAD_PASSWORDS: list[Any] = [
    "",
    "1234567",
    "x" * 257,
    "🔑" * 7,
    "long enough\0",
    "long enough\ud800",
    12345678,
    None,
    ["long enough"],
    {},
]
BAD_IMAGES: list[Any] = [
    *("", "http://example.com/a.png", "//example.com/a.png", "javascript:alert(1)", "data:image/png;base64,", "https://"),
    *("https:///a.png", "https://ann@example.com/", "https://ann:secret@example.com/", "https://example.com/a b.png"),
    *(
        "https://example.com/\n",
        "https://example.com/<script>",
        'https://example.com/"',
        "https://[::1",
        "https://example.com:x/",
    ),
    *("https://[07dbb1dd]/", "https://[]/", "https://[1.2.3.4]/", "https://[1:2:3:4:5:6:7]/", "https://[1::2::3]/"),
    *("https://[::12345]/", "https://[1:2:3:4:5:6:7:8:9]/", "https://[::1.2.3.256]/", "https://[:::]/"),
    *(f"{IMAGE}{'a' * 2001}", "https://example.com/\0", "https://example.com/\ud800", 1, True, [IMAGE], {}),
]
