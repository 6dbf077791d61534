// Language, theme, sections, examples and outages; what needs the model is asked of Gradio.
(() => {
  "use strict";
  const root = document.documentElement;
  const memory = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) {
      try { value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value); } catch { /* private mode */ }
    },
  };
  const said = (name) => window.ovTexts[name][root.lang];
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
    for (const link of document.querySelectorAll("[data-view]"))
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
  function chooseColumn(name) {
    const field = document.querySelector("#column :is(input, textarea)");
    write(field, name);
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
    if (data.setLanguage) { memory.set("ov-language", data.setLanguage); applyLanguage(); }
    else if ("themeToggle" in data) toggleTheme();
    else if (data.example) write(document.querySelector("#text textarea"), data.example);
    else if (data.fill) write(document.querySelector(`${data.fill} textarea`), data.text);
    else if (data.open) fileField(data.open)?.click();
    else if (data.column) chooseColumn(data.column);
    else if (data.label) chooseLabel(target);
    else if ("retry" in data) ask();
    else if ("reload" in data) location.reload();
    else if (target.getAttribute("href") === "#content") {
      event.preventDefault();
      document.querySelector(`#view-${root.dataset.view} h1`)?.focus();
    }
  });

  // Requests in flight, and a server that is gone.
  let waiting = 0;
  let outage = "";
  const fetched = window.fetch;
  const ours = (url) => new URL(url, location.href).origin === location.origin;
  window.fetch = async (...request) => {
    const url = request[0]?.url ?? String(request[0]);
    const working = /\/run\/predict|\/queue\/join|\/upload/.test(url);
    if (working && ++waiting) root.dataset.waiting = "";
    try {
      const response = await fetched(...request);
      if (ours(url) && outage === "gone") { outage = "back"; showOutage(); }
      if (/\/upload/.test(url) && !response.ok) { outage = "upload"; showOutage(); }
      return response;
    } catch (error) {
      if (ours(url) && error?.name !== "AbortError") { outage = "gone"; showOutage(); }
      throw error;
    } finally {
      if (working && !--waiting) delete root.dataset.waiting;
    }
  };
  function showOutage() {
    const place = document.getElementById("outage");
    if (!place || place.dataset.shown === outage + root.lang) return;
    place.dataset.shown = outage + root.lang;
    place.replaceChildren();
    if (!outage) return;
    const add = (tag, name, attribute) => {
      const node = document.createElement(tag);
      node.textContent = said(name);
      if (attribute) { node.type = "button"; node.dataset[attribute] = ""; }
      place.append(node);
    };
    if (outage === "gone") {
      add("strong", "fail.server"); add("p", "fail.server.hint"); add("button", "fail.retry", "retry");
    } else if (outage === "upload") {
      add("strong", "fail.upload"); add("p", "fail.upload.hint");
    } else {
      add("p", "fail.server.back"); add("button", "fail.reload", "reload");
    }
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
    } else if (outage === "upload") outage = "";
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
  function announce() {
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      const place = document.getElementById("announcer");
      const news = document.querySelector(`#view-${root.dataset.view} .announce`)?.innerText ?? "";
      if (place && place.textContent !== news) place.textContent = news;
    }, 600);
  }
  let dressing = false;
  function start() {
    applyTheme();
    new MutationObserver(() => {
      announce();
      if (dressing) return;
      dressing = true;
      // Not an animation frame: a tab that is not looked at has none.
      setTimeout(() => { dressing = false; dressUp(); }, 16);
    }).observe(document.querySelector("gradio-app"), { childList: true, subtree: true });
    new MutationObserver(() => {
      if (root.lang !== root.dataset.language) dressUp();
    }).observe(root, { attributeFilter: ["lang"] });
    dressUp();
  }
  applyTheme();
  applyLanguage();
  system.addEventListener("change", applyTheme);
  addEventListener("hashchange", () => showView(true));
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
})();
