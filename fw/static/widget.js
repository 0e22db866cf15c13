// FeedbackWave's widget.
(() => {
  "use strict";

  const before = window.FeedbackWave;
  // The first script shows the others' widgets too.
  if (before?.add) return before.add(document.currentScript);

  const MESSAGE = 5000;
  const PREFIX = "feedbackwave:";
  const RANGES = { rating: [1, 5], nps: [0, 10] };

  // In the order of create().
  const TEXTS = {
    en: "Feedback|What do you think?|Would you recommend us?|Your message|Send|Thank you!|Close|Saved. It will be sent later.|This could not be sent.|Please fill this in.",
    de: "Feedback|Was denken Sie?|Würden Sie uns empfehlen?|Ihre Nachricht|Senden|Vielen Dank!|Schließen|Gespeichert. Es wird später gesendet.|Das konnte nicht gesendet werden.|Bitte ausfüllen.",
    es: "Comentarios|¿Qué le parece?|¿Nos recomendaría?|Su mensaje|Enviar|¡Gracias!|Cerrar|Guardado. Se enviará más tarde.|No se ha podido enviar.|Campo obligatorio.",
    fr: "Votre avis|Qu’en pensez-vous ?|Nous recommanderiez-vous ?|Votre message|Envoyer|Merci !|Fermer|Enregistré. Il sera envoyé plus tard.|L’envoi a échoué.|Champ obligatoire.",
    pt: "Comentários|O que acha?|Recomendaria a outras pessoas?|Sua mensagem|Enviar|Obrigado!|Fechar|Guardado. Será enviado mais tarde.|Não foi possível enviar.|Campo obrigatório.",
    it: "Feedback|Cosa ne pensi?|Ci consiglieresti?|Il tuo messaggio|Invia|Grazie!|Chiudi|Salvato. Verrà inviato più tardi.|Invio non riuscito.|Campo obbligatorio.",
    nl: "Feedback|Wat vindt u ervan?|Zou u ons aanbevelen?|Uw bericht|Versturen|Bedankt!|Sluiten|Opgeslagen. Het wordt later verstuurd.|Versturen is niet gelukt.|Vul dit in.",
    ja: "ご意見|ご意見をお聞かせください|人に勧めたいですか？|メッセージ|送信|ありがとうございます|閉じる|保存しました。後で送信します。|送信できませんでした。|入力してください。",
    zh: "反馈|您觉得怎么样？|您会推荐我们吗？|您的留言|发送|谢谢！|关闭|已保存，稍后发送。|发送失败。|请填写。",
    ar: "رأيك|ما رأيك؟|هل توصي بنا؟|رسالتك|إرسال|شكرًا لك!|إغلاق|تم الحفظ، وسيتم الإرسال لاحقًا.|تعذّر الإرسال.|حقل مطلوب.",
  };




  const PALETTES = {
    light: { ground: "#ffffff", raised: "#f6f8fa", ink: "#1b2530", quiet: "#52606d", line: "#d5dde5", accent: "#0f766e", danger: "#b42318" },
    dark: { ground: "#14191d", raised: "#1d252b", ink: "#e4e9ed", quiet: "#9fb0bd", line: "#36434d", accent: "#2dd4bf", danger: "#ff9b8f" },
  };
  // In px, as pages set rem; and what is important here wins over the page.
  const STYLE = `:host{all:initial!important;display:block!important}
*{box-sizing:border-box;margin:0}
#root{font:16px/1.5 system-ui,sans-serif;color:var(--ink);overflow-wrap:anywhere}
button,textarea{font:inherit;color:inherit;border:1px solid;border-radius:10px}
button{min-height:44px;padding:0 20px;border-color:var(--accent);background:var(--fill);color:var(--label);font-weight:600;cursor:pointer}
button:hover{box-shadow:0 0 0 3px var(--line)}
:focus-visible,label:has(:focus-visible){outline:3px solid var(--accent);outline-offset:2px}
textarea:focus-visible{outline-offset:-2px}
#launcher{position:fixed;z-index:2147483647;bottom:20px;display:flex;align-items:center;gap:10px;border-radius:24px;box-shadow:0 4px 16px #0005}
#launcher::before{content:"";width:18px;height:14px;border:2px solid;border-radius:6px 6px 6px 0}
dialog{width:min(400px,100vw - 40px);padding:0;color:inherit;box-shadow:0 12px 40px #0005}
dialog,section{border:1px solid var(--line);border-radius:10px;background:var(--ground)}
section{max-width:640px;container-type:inline-size}
form{position:relative;display:flex;flex-direction:column;gap:14px;padding:20px}
h2{font-size:18px}
h2,textarea,#status{unicode-bidi:plaintext}
dialog h2{padding-inline-end:36px}
textarea{min-height:104px;max-height:40vh;padding:10px 12px;border-color:var(--quiet);background:none;field-sizing:content}
::placeholder{color:var(--quiet);opacity:1}
.nps,.rating{display:grid;grid-template-columns:repeat(6,1fr);gap:6px}
.rating{grid-template-columns:repeat(5,52px)}
@container(min-width:580px){.nps{grid-template-columns:repeat(11,1fr)}}
label{position:relative;display:grid;place-items:center;min-height:44px;border-radius:10px}
.nps label{border:1px solid var(--quiet)}
.nps :has(:checked){background:var(--fill);border-color:var(--accent);color:var(--label)}
.rating label{font-size:0}
.rating label::after{content:"☆";font-size:38px;line-height:1;color:var(--quiet)}
.rating :is(:has(:checked),:has(~label :checked))::after{content:"★";color:var(--accent)}
input{position:absolute;inset:0;width:100%;opacity:0;cursor:pointer}
#count{color:var(--quiet);font-size:14px}
#status{color:var(--danger)}
[aria-invalid=true]{border-color:var(--danger)}
p:empty{position:absolute}
#send{align-self:end}
[aria-busy] #send{opacity:.6}
#close{position:absolute;top:10px;inset-inline-end:10px;padding:0 14px;border:0;background:none;color:var(--quiet);font-size:24px}
.done>:not(#status,#close){display:none}
.done #status{padding:28px 36px;text-align:center;outline:0;color:inherit}
.sent #status::before{content:"✓"/"";display:block;font-size:36px;color:var(--accent)}
@media(max-width:480px){dialog{width:100%;max-width:none;margin:auto 0 0!important;border-radius:16px 16px 0 0}}
@media(prefers-reduced-motion:no-preference){dialog[open]{animation:rise .2s}}
@keyframes rise{from{opacity:0;transform:translateY(16px)}}`;

  const widgets = [];
  const configs = {};
  const counted = {};
  const listeners = { open: [], close: [], submit: [], error: [] };
  let identified;
  let wantsOpen;

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    element.append(...children);
    return element;
  }

  function attempt(action) {
    try {
      return action();
    } catch {}
  }

  // In microtasks, so that what a listener throws stops nothing.
  const emit = (event, detail) => listeners[event].forEach((listener) => queueMicrotask(() => listener(detail)));

  // WCAG's relative luminance + 0.05: the contrast is the quotient of two.
  const luminance = (color) =>
    [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => {
      const value = parseInt(color.substr(2 * i + 1, 2), 16) / 255;
      return sum + part * ((value + 0.055) / 1.055) ** 2.4;
    }, 0.05);

  // Whatever the owner's colour, texts have a contrast of 4.5.
  function palette(theme, fill = PALETTES[theme].accent) {
    const { raised, ink } = PALETTES[theme];
    const ratio = luminance(fill) / luminance(raised);
    const accent = Math.max(ratio, 1 / ratio) < 4.5 ? ink : fill;
    const colors = { ...PALETTES[theme], accent, fill, label: luminance(fill) > 0.229 ? "#000" : "#fff" };
    return `#root{color-scheme:${theme};${Object.entries(colors).map((pair) => "--" + pair.join(":")).join(";")}}`;
  }

  function dress(shadow, theme, { color, position = "bottom-right" }, nonce) {
    const side = position.slice(7);
    let css = `${STYLE}#launcher{${side}:20px}dialog{margin:auto auto 20px;margin-${side}:20px}`;
    css += palette(theme === "dark" ? theme : "light", color);
    if (theme === "auto") css += `@media(prefers-color-scheme:dark){${palette("dark", color)}}`;
    if (!shadow.adoptedStyleSheets) return shadow.append(make("style", { nonce }, css));
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    shadow.adoptedStyleSheets = [sheet];
  }

  // The store has what the server has not yet taken or refused.
  const store = attempt(() => localStorage) || {};
  const visit = attempt(() => sessionStorage) || {};
  const put = (place, key, value) => attempt(() => (place[PREFIX + key] = value));
  const kept = () => Object.keys(store).filter((name) => name.startsWith(PREFIX)).sort();
  const settle = {};
  let delay = 5000;
  let timer;

  async function send({ key, url, body, widget }, isKept = true) {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body,
      credentials: "omit",
      keepalive: true,
      signal: AbortSignal.timeout?.(20000),
    }).catch(() => {});
    const status = response?.status;
    const isLater = isKept && (!(status < 500) || status === 408 || status === 429);
    if (isLater) {
      clearTimeout(timer);
      timer = setTimeout(flush, Math.max(delay, response?.headers.get("Retry-After") * 1000 || 0));
    } else {
      delete store[PREFIX + key];
      delay = 5000;
    }
    emit(response?.ok ? "submit" : "error", { widget, status, kept: isLater });
    settle[key]?.(response?.ok, isLater);
  }

  function flush() {
    delay = Math.min(delay * 2, 300000);
    const all = async () => {
      for (const name of kept()) {
        const entry = attempt(() => JSON.parse(store[name]));
        if (entry?.url) await send(entry);
      }
    };
    // One tab at a time, if it can be; the server knows a repeated key.
    navigator.locks?.request(PREFIX, all).catch(all) || all();
  }

  function scale(type, [low, high]) {
    const group = make("div", { class: type, role: "radiogroup", "aria-labelledby": "title" });
    for (let value = low; value <= high; value++)
      group.append(make("label", {}, make("input", { type: "radio", name: "rating", value }), value));
    return group;
  }

  function create(script, api, { id, type, theme, settings }, spot) {
    const lang = [script.dataset.locale, settings.locale, document.documentElement.lang, navigator.language]
      .map((tag) => `${tag}`.toLowerCase().split("-")[0])
      .find((tag) => TEXTS[tag]) || "en";
    const [launcher, title, nps, placeholder, submit, thanks, close, saved, failed, required] = TEXTS[lang].split("|");
    const hint = settings.placeholder || placeholder;
    const range = RANGES[type];
    const isFloating = spot === "html";
    let key;

    const message = make("textarea", { "aria-label": hint, placeholder: hint, "aria-describedby": "count status" });
    const count = make("p", { id: "count" });
    const status = make("p", { id: "status", role: "status", tabindex: -1 });
    const heading = make("h2", { id: "title" }, settings.title || (type === "nps" ? nps : title));
    const button = make("button", { id: "send" }, settings.submit_label || submit);
    const form = make("form", {}, heading, range ? scale(type, range) : "", message, count, status, button);
    const panel = make(isFloating ? "dialog" : "section", { "aria-labelledby": "title", closedby: "any" }, form);
    const root = make("div", { id: "root", lang, dir: lang === "ar" ? "rtl" : "ltr" }, panel);
    const host = make("div");
    const shadow = host.attachShadow({ mode: "open" });
    dress(shadow, theme, settings, script.dataset.nonce);
    shadow.append(root);

    const tell = (event) => (counted[event + api] ||= navigator.sendBeacon?.(api + "events", JSON.stringify({ event })));

    function say(words, control, state = "") {
      status.textContent = words;
      form.className = state;
      message.ariaInvalid = control === message;
      control?.focus();
    }

    function check() {
      const { length } = [...message.value.trim()];
      count.textContent = length > MESSAGE - 500 ? `${length} / ${MESSAGE}` : "";
      say("");
      return length;
    }

    form.oninput = check;
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (form.ariaBusy) return;
      const { rating } = form.elements;
      const length = check();
      if (range ? !rating.value : !length) return say(required, range ? rating[0] : message);
      if (length > MESSAGE) return say(count.textContent, message);
      key = [Date.now(), ...crypto.getRandomValues(new Uint32Array(4))].join("-");
      const body = JSON.stringify({
        message: message.value.trim(),
        rating: range && +rating.value,
        // Within 4 KiB, and without the query, which may be private.
        metadata: { page: (location.origin + location.pathname).slice(0, 1000), ...identified, rating: undefined },
      });
      const entry = { key, widget: id, url: api + "feedback", body };
      settle[key] = (isSent, isLater) => {
        const focused = shadow.activeElement && status;
        if (isSent) say(settings.thank_you || thanks, focused, "done sent");
        else if (isLater) say(saved, focused, "done");
        else say(failed);
      };
      form.ariaBusy = true;
      await send(entry, kept().length < 20 && !!put(store, key, JSON.stringify(entry)));
      form.ariaBusy = null;
    };

    const widget = {
      name: api + spot,
      panel,
      place() {
        if (host.isConnected) return;
        panel.close?.();
        document.querySelector(spot)?.[spot.startsWith("script") ? "after" : "append"](host);
      },
      open() {
        widget.place();
        if (!isFloating) return form.elements[0].focus();
        if (panel.open) return;
        // What was written is sent, or waits.
        if (form.className) {
          delete settle[key];
          form.reset();
          check();
        }
        put(visit, id, 1);
        panel.showModal();
        emit("open", { widget: id });
      },
    };

    // Once a visit, and not while somebody types or looks elsewhere.
    function wait() {
      setTimeout(() => {
        if (visit[PREFIX + id]) return;
        if (document.hidden || document.activeElement?.matches("input,textarea,[contenteditable]")) wait();
        else widget.open();
      }, 10000);
    }

    form.addEventListener("focusin", () => tell("open"));
    // Or the page's shortcuts would take what is typed.
    root.onkeydown = root.onkeyup = root.onkeypress = (event) => event.stopPropagation();
    if (isFloating) {
      form.append(make("button", { id: "close", type: "button", "aria-label": close }, "×"));
      form.lastChild.onclick = () => panel.close();
      panel.onclose = () => emit("close", { widget: id });
    }
    if (type === "popup") wait();
    if (type === "button") {
      root.prepend(make("button", { id: "launcher", "aria-haspopup": "dialog" }, launcher));
      root.firstChild.onclick = widget.open;
    }
    new IntersectionObserver((entries) => entries.at(-1).isIntersecting && tell("view")).observe(root.firstChild);
    return widget;
  }

  async function load(url, isLast) {
    const response = await fetch(url, { credentials: "omit" }).catch(() => {});
    if (response?.ok) return response.json().catch(() => {});
    if (isLast || response?.status < 500) return;
    await new Promise((resolve) => (response ? setTimeout(resolve, 5000) : addEventListener("online", resolve)));
    return load(url, true);
  }

  async function add(script) {
    const { widget: id, target } = script.dataset;
    const api = new URL(`api/widgets/${id}/`, script.src).href;
    const config = await (configs[api] ||= load(api + "config"));
    if (!config) return;
    const spot = /button|popup/.test(config.type) ? "html" : target || `script[data-widget="${id}"]`;
    // The script may be there twice, or again with a new body.
    if (widgets.some(({ name }) => name === api + spot)) return;
    const widget = create(script, api, config, spot);
    widget.place();
    widgets.push(widget);
    if (wantsOpen) FeedbackWave.open();
  }

  const FeedbackWave = (window.FeedbackWave = {
    add,
    open() {
      const widget = widgets.find(({ panel }) => panel.close) || widgets[0];
      wantsOpen = !widget;
      widget?.open();
    },
    close() {
      wantsOpen = false;
      for (const { panel } of widgets) panel.close?.();
    },
    identify(object) {
      const text = attempt(() => JSON.stringify(object));
      if (text?.[0] === "{" && new TextEncoder().encode(text).length <= 3000) identified = JSON.parse(text);
      else emit("error", { reason: "identify" });
    },
    on(event, listener) {
      listeners[event]?.push(listener);
    },
    push(...commands) {
      for (const command of commands) attempt(() => FeedbackWave[command[0]](...command.slice(1)));
    },
  });
  if (Array.isArray(before)) FeedbackWave.push(...before);

  let looking;
  // Not at once: a page that removes it each time would be stuck.
  new MutationObserver(() => {
    looking ||= setTimeout(() => {
      looking = 0;
      for (const widget of widgets) widget.place();
    }, 100);
  }).observe(document, { childList: true, subtree: true });
  addEventListener("online", flush);
  flush();
  add(document.currentScript);
})();
