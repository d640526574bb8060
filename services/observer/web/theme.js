// Dark or light, before the first paint: as chosen here before, else as the system has it.
"use strict";

(() => {
  const KEY = "wharfinger-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: light)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be switched off
    }
  }

  function apply() {
    root.dataset.theme = stored() ?? (system.matches ? "light" : "dark");
    document.dispatchEvent(new Event("themechange"));
  }

  function toggle() {
    try {
      localStorage.setItem(KEY, root.dataset.theme === "dark" ? "light" : "dark");
    } catch {
      // then it is for this view only
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      document.dispatchEvent(new Event("themechange"));
      return;
    }
    apply();
  }

  system.addEventListener("change", apply);
  window.toggleTheme = toggle;
  apply();
})();
