"use strict";
// All content is in the page. This script switches between options of the whole page and enlarges
// pictures. It reads names from attributes and writes them with textContent only.
document.documentElement.classList.add("js");
document.addEventListener("DOMContentLoaded", () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const root = document.documentElement;

  // options: #method=KEY
  const show = (number) => {
    for (const node of all("[data-option]")) node.classList.toggle("on", node.dataset.option === number);
    for (const chip of all("[data-chip]")) {
      if (chip.dataset.chip === number) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    }
  };
  const select = document.getElementById("option");
  const links = select ? [...select.options].map((o) => o.value) : all("[data-chip]").map((a) => a.getAttribute("href"));
  const key = (link) => new URLSearchParams(link.slice(1)).get("method");
  const follow = () => {
    const number = links.findIndex((link) => key(link) === key(location.hash));
    if (key(location.hash) === null || number < 0) return;
    show(String(number));
    if (select) select.selectedIndex = number;
    root.dataset.current = key(location.hash);
  };
  addEventListener("hashchange", follow);
  select?.addEventListener("change", () => { location.hash = select.value; });
  follow();

  // enlarging
  const box = document.createElement("dialog");
  box.setAttribute("aria-label", "Enlarged");
  document.body.append(box);
  const add = (parent, name, text = "") => {
    const node = document.createElement(name);
    node.textContent = text;
    parent.append(node);
    return node;
  };
  const open = (picture, ...beside) => {
    const close = document.createElement("button");
    close.textContent = "Close";
    close.addEventListener("click", () => box.close());
    box.replaceChildren(picture.cloneNode(true), ...beside, close);
    box.showModal();
  };
  const facts = (shot) => {
    const side = document.createElement("div");
    add(side, "h3", shot.getAttribute("aria-label"));
    const list = add(side, "dl");
    list.className = "pairs";
    for (const line of shot.dataset.about.split("\n")) {
      const [name, value] = line.split("\t");
      const row = add(list, "div");
      add(row, "dt", name);
      add(row, "dd", value);
    }
    return side;
  };
  document.addEventListener("click", (event) => {
    if (event.target === box) box.close(); // the backdrop
    const shot = event.target.closest("[data-about]");
    if (shot) open(shot.querySelector("svg"), facts(shot));
    const map = event.target.closest("[data-enlarge]");
    if (map) open(map.closest("figure").querySelector("svg"));
  });
  root.dataset.ready = "yes";
});
