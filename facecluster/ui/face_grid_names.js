// Naming in place: a field over the name, and below it people who have such a name already.

const SUGGESTIONS = 6;
const MENU = 280; // pixels that the menu takes, below a field that may be narrower

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

class Naming {
  constructor(grid) {
    this.grid = grid;
    this.now = null; // the field that is open
    this.known = null;
  }

  forget() {
    this.known = null;
  }

  start(i, typed = null) {
    this.end(true);
    const id = this.grid.id(i);
    const name = this.grid.name(id);
    const field = element("input", "", {
      role: "combobox", "aria-label": `Name of ${name || "unnamed person"}`, "aria-autocomplete": "list",
      "aria-expanded": "false", "aria-controls": "names", autocomplete: "off", spellcheck: "false",
    });
    const box = element("div", "editor");
    const menu = element("div", "menu");
    const list = element("div", "", { id: "names", role: "listbox", "aria-label": "People of such a name" });
    menu.hidden = true;
    menu.append(list, this.hints());
    box.append(field, menu);
    this.grid.stage.append(box);
    this.now = { i, id, field, box, menu, list, name, at: -1, found: [] };
    field.value = typed ?? name;
    this.place();
    field.focus({ preventScroll: true });
    if (typed === null) field.select();
    else this.suggest();
    field.addEventListener("input", () => this.suggest());
    field.addEventListener("keydown", (event) => this.press(event));
    field.addEventListener("blur", () => this.end(true));
    menu.addEventListener("pointerdown", (event) => this.pick(event));
  }

  hints() {
    const hints = element("div", "hints", { "aria-hidden": "true" });
    for (const [key, does] of [["Enter", "save"], ["Tab", "next unnamed"], ["Esc", "give up"]]) {
      const cap = element("kbd", "");
      cap.textContent = key;
      hints.append(cap, ` ${does} `);
    }
    return hints;
  }

  place() {
    if (!this.now) return;
    const { sections, step, side, stage } = this.grid;
    const { box, menu, i } = this.now;
    const wide = Math.max(side + 16, 190);
    box.style.width = `${wide}px`;
    const left = clamp(sections.column(i) * step - 8, 0, Math.max(stage.clientWidth - wide, 0));
    box.style.left = `${left}px`;
    menu.style.left = `${Math.min(0, stage.clientWidth - left - MENU)}px`;
    box.style.top = `${sections.row(i) + side + 5}px`;
  }

  press(event) {
    event.stopPropagation();
    if (event.isComposing) return;
    const { i, found, field, at } = this.now;
    const places = found.length + 1; // one more than there are: nobody pointed at
    if (event.key === "ArrowDown") this.point((at + 2) % places - 1);
    else if (event.key === "ArrowUp") this.point((at + places) % places - 1);
    else if (event.key === "Enter" || event.key === "Tab") {
      if (found[at]) field.value = found[at].name;
      this.end(true);
      if (event.key === "Enter") this.grid.go(i);
      else this.goOn(i, event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      this.end(false);
      this.grid.go(i);
    } else return;
    event.preventDefault();
  }

  // The next one without a name.
  goOn(from, way) {
    const { grid } = this;
    for (let i = from + way; i >= 0 && i < grid.order.length; i += way) {
      if (grid.name(grid.id(i))) continue;
      grid.go(i);
      this.start(i);
      return;
    }
    grid.go(from);
    grid.say("Nobody further on is without a name");
  }

  end(isKept) {
    if (!this.now) return;
    const { field, box, id, name } = this.now;
    this.now = null;
    const typed = field.value.replace(/\s+/g, " ").trim();
    box.remove();
    if (!isKept || typed === name) return;
    this.grid.act({ kind: "rename", id, name: typed, seen: name });
    this.grid.say(typed ? `Named ${typed}` : "Name taken away");
    this.forget();
    this.grid.refill(id);
  }

  // Names that there are, each once, with all the faces of that name.
  names() {
    if (this.known) return this.known;
    const { list } = this.grid;
    const found = new Map();
    list.ids.forEach((id, row) => {
      const name = this.grid.name(id);
      if (!name || this.grid.gone.has(id)) return;
      const known = found.get(name);
      if (known) known.n += list.counts[row];
      else found.set(name, { name, row, n: list.counts[row], words: plain(name) });
    });
    this.known = [...found.values()];
    return this.known;
  }

  // Who begins like this first, then in whom a word begins so, then who has it anywhere; more faces before fewer.
  ranked(typed) {
    if (!typed) return [];
    const rank = ({ words }) => {
      const at = words.indexOf(typed);
      return at < 0 ? -1 : at === 0 ? 2 : words[at - 1] === " " ? 1 : 0;
    };
    return this.names()
      .filter((known) => known.name !== this.now.name)
      .map((known) => ({ ...known, rank: rank(known) }))
      .filter((known) => known.rank >= 0)
      .sort((a, b) => b.rank - a.rank || b.n - a.n)
      .slice(0, SUGGESTIONS);
  }

  suggest() {
    const { field, menu, list } = this.now;
    const typed = plain(field.value.trim());
    const found = this.ranked(typed);
    Object.assign(this.now, { found, at: -1 });
    list.replaceChildren(...found.map((known, i) => this.option(known, i, typed)));
    menu.hidden = !found.length;
    field.setAttribute("aria-expanded", String(found.length > 0));
    field.removeAttribute("aria-activedescendant");
    const room = window.innerHeight - field.getBoundingClientRect().bottom;
    menu.classList.toggle("above", room < 40 * found.length + 130);
  }

  option(known, i, typed) {
    const option = element("div", "option", { id: `name-${i}`, role: "option", "aria-selected": "false" });
    option.at = i;
    const crop = element("div", "crop");
    showPicture(crop, this.grid.address(known.row, 28));
    const text = element("span", "text");
    // Where an accent is a letter of its own, places in the plain text are other places: then nothing is bold.
    const from = known.words.length === known.name.length ? known.words.indexOf(typed) : 0;
    const to = known.words.length === known.name.length ? from + typed.length : 0;
    const bold = element("b", "");
    bold.textContent = known.name.slice(from, to);
    text.append(known.name.slice(0, from), bold, known.name.slice(to));
    const count = element("span", "count");
    count.textContent = known.n.toLocaleString("en");
    option.append(crop, text, count);
    return option;
  }

  point(at) {
    const { list, field, found } = this.now;
    this.now.at = at;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (found[at]) field.setAttribute("aria-activedescendant", `name-${at}`);
    else field.removeAttribute("aria-activedescendant");
  }

  pick(event) {
    event.preventDefault(); // the field keeps the focus, so that nothing is saved on the way
    const option = event.target.closest(".option");
    if (!option) return;
    const { field, found, i } = this.now;
    field.value = found[option.at].name;
    this.end(true);
    this.grid.go(i);
  }
}
