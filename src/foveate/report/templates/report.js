"use strict";
// Everything is on the page already. This script switches methods, enlarges and shows hover texts.
// It reads names from JSON and writes them with textContent and setAttribute only.
document.documentElement.classList.add("js");
document.addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const SVG = "http://www.w3.org/2000/svg";

  const make = (name, attributes = {}, text = "", parent = null) => {
    const inSvg = ["svg", "use", "rect", "title"].includes(name);
    const node = inSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== "") node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const percent = (share) => (share >= 0.0995 || share === 0 ? (100 * share).toFixed(0) : (100 * share).toFixed(1)) + "\u202f%";

  // --- methods: #method=NAME
  const drawScene = (figure, method) => {
    const flat = data.scenes[figure.dataset.scene].picks[method];
    const holes = figure.querySelector(".holes");
    const picks = figure.querySelector(".picks");
    holes.replaceChildren();
    picks.replaceChildren();
    const last = Math.max(data.kept[method] - 1, 1);
    for (let i = 0; i < flat.length; i += 3) {
      const [tile, rank, score] = flat.slice(i, i + 3);
      const [y, x, height, width] = data.tiles[tile];
      const strength = rank === null ? 1 : Math.max(1 - (0.65 * (rank - 1)) / last, 0.35);
      make("rect", { x, y, width, height, fill: "#000", "fill-opacity": strength }, "", holes);
      const outline = make("rect", { x, y, width, height, "stroke-opacity": strength }, "", picks);
      const shown = score === null ? "\u2013" : score.toFixed(3);
      make("title", {}, `#${rank ?? "\u2013"} \u00b7 ${shown} \u00b7 ${data.names[tile]}`, outline);
    }
    const count = data.scenes[figure.dataset.scene].counts[method]; // the first of them are drawn
    figure.classList.toggle("empty", count === 0);
    const text = `${count.toLocaleString("en")} pick${count === 1 ? "" : "s"}`;
    figure.querySelector(".count").textContent = text;
    const name = figure.querySelector(".name").textContent;
    figure.querySelector("svg").setAttribute("aria-label", `${name}: ${text}`);
    return count;
  };
  let current = data.lead;
  const show = (method) => {
    for (const node of all("[data-method]")) node.classList.toggle("on", Number(node.dataset.method) === method);
    for (const row of all("[data-row]")) row.classList.toggle("on", data.methods.length > 1 && Number(row.dataset.row) === method);
    for (const chip of all("[data-chip]")) {
      if (Number(chip.dataset.chip) === method) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    }
    const select = document.getElementById("method");
    if (select) select.value = String(method);
    if (method !== current) {
      const cards = all(".scene").map((figure) => [drawScene(figure, method), figure]);
      cards.sort((a, b) => b[0] - a[0] || a[1].dataset.scene - b[1].dataset.scene);
      for (const [, figure] of cards) figure.parentNode.append(figure);
      const empty = cards.filter(([count]) => count === 0).length;
      const text = `${empty} more scene${empty === 1 ? " has" : "s have"} picks of other methods, none of ${data.methods[method].short}.`;
      const note = document.getElementById("map-note");
      if (note) note.textContent = empty ? text : "";
    }
    current = method;
    document.documentElement.dataset.shown = data.methods[method].name;
  };
  const fromAddress = () => {
    const name = new URLSearchParams(location.hash.slice(1)).get("method");
    const found = data.methods.findIndex((method) => method.name === name);
    show(found >= 0 ? found : current);
  };
  addEventListener("hashchange", fromAddress);
  document.getElementById("method")?.addEventListener("change", (event) => {
    location.hash = "method=" + encodeURIComponent(data.methods[Number(event.target.value)].name);
  });
  fromAddress();

  // --- enlarging
  const box = document.getElementById("box");
  const body = document.getElementById("box-body");
  const pair = (list, name, value) => {
    const row = make("div", {}, "", list);
    make("dt", {}, name, row);
    make("dd", {}, value, row);
  };
  const openTile = (tile) => {
    body.className = "";
    body.replaceChildren();
    const [element, viewBox] = tile.picture ?? ["", "0 0 1 1"];
    const picture = make("svg", { viewBox, role: "img", "aria-label": tile.id }, "", body);
    if (element) make("use", { href: "#" + element }, "", picture);
    const side = make("div", { class: "side" }, "", body);
    make("h3", {}, tile.id, side);
    const list = make("dl", { class: "pairs" }, "", side);
    const [y, x, height, width] = tile.window;
    pair(list, "Window", `row ${y}, column ${x}, ${height} \u00d7 ${width} px`);
    (tile.shares ?? []).forEach((share, i) => {
      if (share > 0) pair(list, data.classes[i], percent(share));
    });
    data.methods.forEach((method, i) => {
      const rank = tile.ranks[i] === null ? "not ranked" : `rank ${tile.ranks[i].toLocaleString("en")}`;
      pair(list, method.short, rank + (tile.kept[i] ? ", kept" : ""));
    });
    box.showModal();
  };
  document.addEventListener("click", (event) => {
    const tile = event.target.closest("[data-tile]");
    if (tile) openTile(data.thumbs[tile.dataset.tile]);
    const zoom = event.target.closest(".zoom");
    if (zoom) {
      body.className = "whole scene";
      body.replaceChildren(zoom.closest("figure").querySelector("svg").cloneNode(true));
      box.showModal();
    }
    if (event.target === box) box.close(); // the backdrop
  });

  // --- hover texts: the <title> of a mark, shown at once
  const tip = document.getElementById("tip");
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-tip], svg *");
    let text = mark?.dataset?.tip ?? "";
    for (let node = mark; !text && node && node.localName !== "svg"; node = node.parentNode) {
      const title = [...node.children].find((child) => child.localName === "title");
      if (title) {
        node.dataset.tip = title.textContent;
        title.remove(); // or the browser would show a second one, later
      }
      text = node.dataset?.tip ?? "";
    }
    tip.hidden = text === "";
    if (!text) return;
    (box.open ? box : document.body).append(tip); // a modal covers everything outside of it
    tip.textContent = text;
    const room = innerWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(event.clientX + 14, room)) + "px";
    tip.style.top = (event.clientY + 40 > innerHeight ? event.clientY - 40 : event.clientY + 18) + "px";
  });
  document.documentElement.dataset.ready = "yes";
});
