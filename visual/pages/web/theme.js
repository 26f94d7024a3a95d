"use strict";
// Light or dark: as the reader's system has it, until the button is pressed.
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.dispatchEvent(new Event("theme"));
}

function themeButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "theme";
  button.textContent = "light / dark";
  button.onclick = () => setTheme(document.documentElement.dataset.theme !== "dark");
  return button;
}

setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
