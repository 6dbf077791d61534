// Language, theme, sections, examples and outages; what needs the model is asked of Gradio.
(() => {
  "use strict";
  const root = document.documentElement;
  // Gradio's address is what the browser sees, whichever path and scheme a proxy shows it at.
  const seen = (given) => {
    if (given) given.root = location.origin + location.pathname.replace(/\/+$/, "");
    return given;
  };
  let config = seen(window.gradio_config);
  Object.defineProperty(window, "gradio_config", {
    configurable: true, get: () => config, set(given) { config = seen(given); },
  });
  const memory = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) {
      try { value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value); } catch { /* private mode */ }
    },
  };
  const said = (name) => window.ovTexts[name][root.dataset.language];
  const system = matchMedia("(prefers-color-scheme: dark)");

  function applyTheme() {
    const theme = memory.get("ov-theme") || (system.matches ? "dark" : "light");
    root.dataset.theme = theme;
    document.body?.classList.toggle("dark", theme === "dark");
  }
  function toggleTheme() {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    // What the system says needs no memory, and is followed again.
    memory.set("ov-theme", theme === (system.matches ? "dark" : "light") ? null : theme);
    applyTheme();
  }
  function applyLanguage() {
    const browser = (navigator.language || "").toLowerCase().startsWith("ru") ? "ru" : "en";
    const language = memory.get("ov-language") || browser;
    root.lang = language;
    root.dataset.language = language;
    dressUp();
  }
  // What attributes say cannot be shown and hidden by styles.
  function dressUp() {
    // Gradio sets the browser's language when it has loaded, whatever stands there.
    if (root.lang !== root.dataset.language) root.lang = root.dataset.language;
    for (const button of document.querySelectorAll("[data-set-language]"))
      button.setAttribute("aria-pressed", String(button.dataset.setLanguage === root.lang));
    for (const node of document.querySelectorAll(`[data-label-${root.lang}]`))
      node.setAttribute("aria-label", node.getAttribute(`data-label-${root.lang}`));
    for (const label of document.querySelectorAll("[data-labels]")) {
      const field = document.querySelector(label.dataset.labels);
      if (!field) continue;
      label.id ||= `label-${label.dataset.labels.replace(/\W+/g, "-")}`;
      field.setAttribute("aria-labelledby", label.id);
      const words = label.getAttribute(`data-placeholder-${root.lang}`);
      if (words !== null) field.placeholder = words;
    }
    showOutage();
    showView(false);
  }

  function currentView() {
    const name = location.hash.slice(1);
    return window.ovViews.includes(name) ? name : root.dataset.view || window.ovViews[0];
  }
  function showView(focus) {
    const view = currentView();
    root.dataset.view = view;
    document.title = `${said(`view.${view}`)} · ov·emotions`;
    for (const link of document.querySelectorAll("a[data-view]"))
      link.dataset.view === view ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    if (focus) {
      scrollTo(0, 0);
      document.querySelector(`#view-${view} h1`)?.focus({ preventScroll: true });
    }
  }

  function write(field, text) {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus({ preventScroll: false });
  }
  // A choice is sent by a field that nobody sees.
  function send(name, value) {
    const field = document.querySelector(`${name} :is(input, textarea)`);
    begin();
    write(field, "");
    write(field, value);
    field.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", bubbles: true }));
  }
  // Gradio puts the field in front of its button.
  const fileField = (id) => document.querySelector(`input[type=file]:has(+ #${id})`);
  function chooseLabel(button) {
    const result = button.closest(".result");
    for (const other of result.querySelectorAll("[data-label]"))
      other.setAttribute("aria-pressed", String(other === button));
    for (const words of result.querySelectorAll("[data-for]"))
      words.hidden = words.dataset.for !== button.dataset.label;
  }
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a");
    if (!target) return;
    const data = target.dataset;
    if (target.disabled) return;
    if (data.setLanguage) { memory.set("ov-language", data.setLanguage); applyLanguage(); openAgain(); }
    else if ("themeToggle" in data) toggleTheme();
    else if (data.example) write(document.querySelector("#text textarea"), data.example);
    else if (data.fill) write(document.querySelector(`${data.fill} textarea`), data.text);
    else if (data.open) fileField(data.open)?.click();
    else if (data.column) send("#column", data.column);
    else if (data.role) send("#role", data.role);
    else if (data.run === "busy.stop") stop();
    else if ("run" in data && data.run !== "fail.again") begin();
    else if (/^#(ru|en)-dialogue/.test(target.getAttribute("href"))) {
      event.preventDefault();
      openDialogue(target);
    }
    else if (data.label) chooseLabel(target);
    else if ("retry" in data) ask();
    else if ("reload" in data) location.reload();
    else if (target.getAttribute("href") === "#content") {
      event.preventDefault();
      document.querySelector(`#view-${root.dataset.view} h1`)?.focus();
    }
  });

  // A result belongs to a text: where the text is another now, or the last request failed, it is old.
  const table = Array.from({ length: 256 }, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1; return n >>> 0; });
  function stamp(text) {
    let sum = 0xffffffff;
    for (const byte of new TextEncoder().encode(text)) sum = table[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ((sum ^ 0xffffffff) >>> 0).toString(16);
  }
  const activeView = () => document.getElementById(`view-${root.dataset.view}`);
  const set = (node, name, on) => { if (on !== name in node.dataset) on ? (node.dataset[name] = "") : delete node.dataset[name]; };
  function judge(view) {
    const field = view.querySelector("textarea");
    const shown = view.querySelector(".answer [data-of], .answer section");
    const of = shown?.dataset.of;
    set(view, "old", Boolean(shown) && ((of !== undefined && of !== stamp(field.value)) || "failed" in view.dataset));
  }

  // What was asked for is under way until another answer stands there.
  const before = new Map();
  const answerOf = (view) => view?.querySelector(".answer [data-answer]");
  function begin() {
    const view = activeView();
    before.set(view, answerOf(view)?.dataset.answer);
    set(view, "failed", false);
    set(view, "busy", true);
    tell(said("busy"));
  }
  function stop() {
    for (const upload of uploads) upload.abort();
    uploads.clear();
  }
  function fail(view) {
    if (!view) return;
    before.delete(view);
    set(view, "busy", false);
    set(view, "failed", true);
    judge(view);
  }
  function look(view) {
    const now = answerOf(view);
    if (!now) return;
    if (before.has(view) && now.dataset.answer !== before.get(view) && !now.querySelector(".progress")) {
      before.delete(view);
      set(view, "busy", false);
      set(view, "failed", false);
      if (view.id !== "view-text") now.scrollIntoView({ block: "start" });
    }
    if (now.dataset.answer !== view.dataset.seen) {
      view.dataset.seen = now.dataset.answer;
      set(view, "failed", false);
      if (now.querySelector(".report")) window.ovReport(now);
    }
    judge(view);
  }
  let opened = null;
  async function openDialogue(link) {
    const part = link.closest(".report");
    const [name, token] = [link.getAttribute("href").slice(1), link.closest(".dialogues").dataset.token];
    const place = part.querySelector(".opened");
    if (!place || !/-dialogue-/.test(name)) { document.getElementById(name)?.scrollIntoView(); return; }
    place.textContent = said("busy");
    const response = await window.fetch(`results/${token}/${name}`).catch(() => null);
    if (!response?.ok) { place.textContent = said(response?.status === 404 ? "fail.gone.hint" : "fail.cut"); return; }
    place.innerHTML = await response.text();
    opened = link;
    window.ovReport(place);
    place.scrollIntoView({ block: "start" });
  }
  // The other language opens the same dialogue.
  function openAgain() {
    if (!opened?.isConnected) return;
    const name = opened.getAttribute("href").replace(/^#../, `#${root.dataset.language}`);
    const link = document.querySelector(`.overview a[href="${name}"], .dialogues a[href="${name}"]`);
    if (link && link !== opened) openDialogue(link);
  }

  // Requests in flight, and a server that is gone.
  let waiting = 0;
  let outage = "";
  const uploads = new Set();
  const fetched = window.fetch;
  const ours = (url) => new URL(url, location.href).origin === location.origin;
  window.fetch = async (...request) => {
    const url = request[0]?.url ?? String(request[0]);
    if (!ours(url)) return fetched(...request);
    const upload = /\/upload(\?|$)/.test(url);
    const working = upload || /\/run\/predict|\/queue\/(join|data)/.test(url);
    const quick = /\/run\/predict/.test(url);
    const view = activeView();
    if (upload && !request[1]?.signal) {
      const one = new AbortController();
      uploads.add(one);
      request[1] = { ...request[1], signal: one.signal };
    }
    if (quick && ++waiting) root.dataset.waiting = "";
    let told = "gone";
    try {
      const response = await fetched(...request);
      const page = working && response.headers.get("content-type")?.startsWith("text/html");
      if (response.ok && !page) { told = /^(gone|http)/.test(outage) ? "back" : outage; return response; }
      const lost = working || response.status >= 500 || response.status === 401 || response.status === 403;
      told = upload && response.status < 500 ? "upload" : lost ? `http ${response.status}` : outage;
      return response;
    } catch (error) {
      if (error?.name === "AbortError") { told = outage; if (upload) fail(view); }
      throw error;
    } finally {
      if (quick && !--waiting) delete root.dataset.waiting;
      const bad = /^(gone|http|upload)/.test(told);
      if (bad && working) fail(view);
      // An answer that was on its way does not come any more.
      if (/^(gone|http)/.test(told)) for (const busy of before.keys()) fail(busy);
      if (told !== outage) { outage = told; showOutage(); }
      if (bad && working) tell(said("fail.cut"));
    }
  };
  function showOutage() {
    const place = document.getElementById("outage");
    if (!place || place.dataset.shown === outage + root.dataset.language) return;
    place.dataset.shown = outage + root.dataset.language;
    place.replaceChildren();
    for (const note of document.querySelectorAll(".cut-note")) note.textContent = said("fail.cut");
    if (!outage) return;
    const add = (tag, name, attribute) => {
      const node = document.createElement(tag);
      node.textContent = said(name).replace("{code}", outage.slice(5));
      if (attribute) { node.type = "button"; node.dataset[attribute] = ""; }
      place.append(node);
    };
    const kind = outage.split(" ")[0];
    if (kind === "back") { add("p", "fail.server.back"); add("button", "fail.reload", "reload"); return; }
    const name = { gone: "fail.server", http: "fail.proxy", upload: "fail.upload" }[kind];
    add("strong", name);
    add("p", `${name}.hint`);
    if (kind !== "upload") add("button", "fail.retry", "retry");
  }
  const tooLarge = 64 * 1024 * 1024;
  function take(id, files) {
    const field = fileField(id);
    if (!field || !files.length) return;
    const one = new DataTransfer();
    one.items.add(files[0]);
    field.files = one.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
  document.addEventListener("change", (event) => {
    if (event.target.type !== "file" || !event.target.files?.length) return;
    if (event.target.files[0].size > tooLarge) {
      event.stopImmediatePropagation();
      event.target.value = "";
      outage = "upload";
    } else { if (outage === "upload") outage = ""; begin(); }
    showOutage();
  }, true);
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      const place = event.target.closest?.("[data-drop]");
      if (kind !== "dragleave" && event.dataTransfer?.types.includes("Files")) event.preventDefault();
      if (!place) return;
      place.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(place.dataset.drop, event.dataTransfer.files);
    });
  const ask = () => window.fetch("alive", { cache: "no-store" }).catch(() => {});
  setInterval(() => { if (!document.hidden) ask(); }, 8000);

  // Results are announced once they stand still.
  let announcing = 0;
  function tell(news) {
    const place = document.getElementById("announcer");
    if (place && place.textContent !== news) place.textContent = news;
  }
  function announce() {
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      const view = activeView();
      if ("busy" in view.dataset) return;
      const news = [...view.querySelectorAll(".answer :is(.announce, .told, .cards, .failure-title)")].find((node) => node.offsetParent);
      tell(news?.innerText.slice(0, 600) ?? "");
    }, 600);
  }
  let dressing = false;
  function start() {
    applyTheme();
    document.querySelector("gradio-app").id = "content";
    new MutationObserver(() => {
      announce();
      if (dressing) return;
      dressing = true;
      // Not an animation frame: a tab that is not looked at has none.
      setTimeout(() => {
        dressing = false;
        dressUp();
        document.querySelectorAll(".view:has(.answer)").forEach(look);
      }, 16);
    }).observe(document.querySelector("gradio-app"), { childList: true, subtree: true });
    new MutationObserver(() => {
      if (root.lang !== root.dataset.language) dressUp();
    }).observe(root, { attributeFilter: ["lang"] });
    dressUp();
  }
  document.addEventListener("input", (event) => {
    const view = event.target.closest(".view:has(.answer)");
    if (view) judge(view);
  });
  applyTheme();
  applyLanguage();
  system.addEventListener("change", applyTheme);
  addEventListener("hashchange", () => { if (window.ovViews.includes(location.hash.slice(1))) showView(true); });
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
})();
