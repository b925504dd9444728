// The map of settings: one field of cells for the number of neighbours in force, the other fields small below it.
//
// A click, Enter or Space on a cell puts the sliders there. Where they are comes as a part of its own, so that a move of
// a slider resends two cells and not the map (see `settings_map.py`).

const HEAT = [0.07, 0.16, 0.34, 0.56, 0.82];

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  parentElement.settingsMap ??= new SettingsMap(parentElement, data.key);
  const map = parentElement.settingsMap;
  map.choose = (cell) => setTriggerValue("chosen", { cell, version: map.data.version });
  map.show(data);
  return () => {
    map.leaving.abort();
    map.root.remove();
    delete parentElement.settingsMap;
  };
}

function make(tag, className, attributes = {}, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

class SettingsMap {
  constructor(host, key) {
    this.key = key;
    this.leaving = new AbortController();
    this.build(host);
    const { signal } = this.leaving;
    window.addEventListener("facecluster-settings", () => this.place(), { signal });
    this.cells.addEventListener("click", (event) => this.click(event.target.closest(".cell")), { signal });
    this.cells.addEventListener("keydown", (event) => this.press(event), { signal });
    this.others.addEventListener("click", (event) => this.turn(event.target.closest(".other")), { signal });
    this.others.addEventListener("keydown", (event) => this.pressOther(event), { signal });
    for (const [name, is] of [["mouseover", true], ["focusin", true], ["mouseleave", false], ["focusout", false]]) {
      this.cells.addEventListener(name, (event) => this.tell(is ? event.target.closest(".cell") : null), { signal });
    }
  }

  build(host) {
    this.root = make("div", "map");
    const field = make("div", "field");
    this.y = make("div", "y");
    this.x = make("div", "x");
    this.cells = make("div", "cells", { role: "grid" });
    this.others = make("div", "others", { role: "radiogroup" });
    this.about = make("p", "about");
    this.tip = make("div", "tip", { role: "tooltip", id: "tip" });
    this.tip.hidden = true;
    field.append(this.y, this.cells, this.x);
    this.root.append(field, this.about, this.others, this.tip);
    host.appendChild(this.root);
  }

  show(data) {
    if (data.version === this.data?.version) return;
    this.data = data;
    this.field = null;
    this.cells.style.gridTemplateColumns = `repeat(${data.epsilons.length}, minmax(0, 1fr))`;
    this.y.replaceChildren(make("span", "", {}, data.most), make("span", "", {}, data.least));
    this.x.replaceChildren(...[data.strict, "distance", data.loose].map((text) => make("span", "", {}, text)));
    this.others.setAttribute("aria-label", data.neighbours);
    this.about.textContent = data.neighbours;
    this.others.hidden = this.about.hidden = data.fields.length < 2;
    this.others.replaceChildren(...data.fields.map((field, a) => this.small(field, a)));
    this.place();
  }

  small({ name, label }, a) {
    const other = make("button", "other", { type: "button", role: "radio", "aria-label": label, title: label });
    const canvas = make("canvas", "", { "aria-hidden": "true" });
    const { heat, wrong } = this.data.fields[a];
    [canvas.width, canvas.height] = [heat[0].length, heat.length];
    const pen = canvas.getContext("2d");
    heat.forEach((row, b) => row.forEach((level, c) => {
      if (level < 0) return;
      pen.fillStyle = wrong[b][c] ? "rgb(194 73 61 / 45%)" : `rgb(169 130 80 / ${HEAT[level]})`;
      pen.fillRect(c, heat.length - 1 - b, 1, 1);
    }));
    other.append(canvas, make("span", "", {}, name));
    other.dataset.at = a;
    return other;
  }

  // Where the sliders are and what is suggested, as [field, size, epsilon] or null.
  place() {
    const now = window.faceclusterSettings?.[this.key];
    if (!this.data || !now || now.version !== this.data.version) return;
    this.now = now;
    const had = this.cells.contains(this.root.getRootNode().activeElement);
    const field = (now.here ?? now.there ?? [0])[0];
    const isOther = field !== this.field;
    if (isOther) this.draw(field);
    for (const cell of this.cells.querySelectorAll(".cell")) {
      const [b, c] = this.at(cell);
      const is = (place) => !!place && place[0] === this.field && place[1] === b && place[2] === c;
      cell.classList.toggle("here", is(now.here));
      cell.classList.toggle("there", is(now.there));
      cell.setAttribute("aria-selected", is(now.here));
    }
    const start = now.here ?? (now.there?.[0] === this.field ? now.there : [this.field, 0, 0]);
    // Whoever is on the way to another cell by keys stays there when the answer to the last one comes.
    if (isOther || !had) this.focusable(this.cell(start[1], start[2]), had);
    this.cells.setAttribute("aria-label", now.label);
    for (const other of this.others.children) {
      const isOn = Number(other.dataset.at) === this.field;
      other.setAttribute("aria-checked", isOn);
      other.tabIndex = isOn ? 0 : -1;
    }
  }

  draw(a) {
    this.field = a;
    const { heat, wrong, safe, told } = this.data.fields[a];
    const inside = (b, c) => !!safe[b]?.[c];
    const rows = heat.map((levels, b) => {
      const row = make("div", "", { role: "row" });
      row.append(...levels.map((level, c) => {
        const cell = make("button", `cell ${level < 0 ? "empty" : `h${level}`}`, {
          type: "button", role: "gridcell", tabindex: "-1", "aria-label": told[b][c].join(", "),
        });
        if (wrong[b][c]) cell.classList.add("wrong");
        if (inside(b, c)) {
          const sides = { top: [b + 1, c], right: [b, c + 1], bottom: [b - 1, c], left: [b, c - 1] };
          for (const [side, next] of Object.entries(sides)) if (!inside(...next)) cell.classList.add(side);
        }
        cell.dataset.at = `${b} ${c}`;
        return cell;
      }));
      return row;
    });
    this.cells.replaceChildren(...rows.reverse()); // more faces stand higher
  }

  at(cell) {
    return cell.dataset.at.split(" ").map(Number);
  }

  cell(b, c) {
    return this.cells.querySelector(`[data-at="${b} ${c}"]`);
  }

  focusable(cell, isFocused) {
    for (const one of this.cells.querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
    if (!cell) return;
    cell.tabIndex = 0;
    if (isFocused) cell.focus();
  }

  click(cell) {
    if (!cell) return;
    this.focusable(cell, true);
    this.go([this.field, ...this.at(cell)]);
  }

  // The dot is there at once; the sliders follow when Python has moved them.
  go(place) {
    this.choose(place);
    window.faceclusterSettings[this.key] = { ...this.now, here: place };
    this.place();
  }

  turn(other) {
    if (!other) return;
    const [, b, c] = this.now.here ?? this.now.there ?? [0, 0, 0];
    this.go([Number(other.dataset.at), b, c]);
    this.others.children[this.field].focus();
  }

  press(event) {
    const from = event.target.closest(".cell");
    if (!from) return;
    const [b, c] = this.at(from), last = this.data.epsilons.length - 1;
    const to = {
      ArrowUp: [b + 1, c], ArrowDown: [b - 1, c], ArrowLeft: [b, c - 1], ArrowRight: [b, c + 1],
      Home: [b, 0], End: [b, last],
    }[event.key];
    if (event.key === "Escape") this.tell(null);
    if (!to) return; // Enter and Space are the button's own click
    event.preventDefault();
    const next = this.cell(...to);
    if (next) this.focusable(next, true);
  }

  pressOther(event) {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const n = this.others.children.length;
    this.turn(this.others.children[(this.field + by + n) % n]);
  }

  tell(cell) {
    this.tip.hidden = !cell;
    if (!cell) return;
    const [b, c] = this.at(cell);
    this.tip.replaceChildren(...this.data.fields[this.field].told[b][c].map((line) => make("p", "", {}, line)));
    const box = cell.getBoundingClientRect(), root = this.root.getBoundingClientRect();
    const left = box.left - root.left + box.width / 2 - this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.max(0, Math.min(left, root.width - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${box.top - root.top - this.tip.offsetHeight - 6}px`;
  }
}
