// Sections: rows of tiles, each under a heading of its own. Where a tile lies, which are in sight, which lies below.
//
// A grid without sections is one block without a heading. Headings lie beside the list of options and not in it, where
// only options may be; each tile says its section to who does not see it.

const HEADING = 64;
const LOW_HEADING = 40;
const DEEDS = 44; // a second line for the buttons, where there is no room beside the words
const NARROW = 640;
const BETWEEN = 6;

class Sections {
  constructor(grid) {
    this.grid = grid;
    this.given = [];
    this.blocks = [];
    this.drawn = new Map();
    this.layer = element("div", "headings");
    grid.stage.append(this.layer);
  }

  // What is told as before keeps its heading, and a button its focus; returns the button that has it.
  take(given) {
    const told = new Map(given.map((section) => [section.id, JSON.stringify(section)]));
    const focused = this.layer.contains(this.active()) ? { ...this.active().dataset } : null;
    for (const [id, heading] of this.drawn) {
      if (heading.told === told.get(id)) continue;
      heading.remove();
      this.drawn.delete(id);
    }
    this.given = given;
    return focused;
  }

  active() {
    return this.grid.root.getRootNode().activeElement;
  }

  button({ section, deed }) {
    const buttons = this.drawn.get(section)?.querySelectorAll("button") ?? [];
    return [...buttons].find((button) => button.dataset.deed === deed);
  }

  // Lay out `n` tiles in so many columns; returns the height of it all.
  lay(n, columns, rise, width) {
    const sections = this.given.length ? this.given : [{ n }];
    Object.assign(this, { columns, rise });
    let top = 0;
    let first = 0;
    this.blocks = sections.map((section) => {
      const tiles = top + this.heightOf(section, width);
      const block = { section, top, tiles, first, n: section.n };
      top = tiles + Math.ceil(section.n / columns) * rise + (section.title === undefined ? 0 : BETWEEN);
      first += section.n;
      return block;
    });
    return top;
  }

  heightOf({ title, line, picture, deeds }, width) {
    if (title === undefined) return 0;
    const isNarrow = width < NARROW && deeds.some(([key]) => key !== "open");
    return (line || picture ? HEADING : LOW_HEADING) + (isNarrow ? DEEDS : 0);
  }

  of(i) {
    let [low, high] = [0, this.blocks.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.blocks[middle].first <= i) low = middle;
      else high = middle - 1;
    }
    return this.blocks[low];
  }

  row(i) {
    const block = this.of(i);
    return block.tiles + Math.floor((i - block.first) / this.columns) * this.rise;
  }

  column(i) {
    return (i - this.of(i).first) % this.columns;
  }

  title(i) {
    return this.of(i)?.section.title;
  }

  // First and end of the tiles between two heights, a row more on either side.
  between(from, to) {
    const seen = this.blocks.filter(({ tiles, n }) => {
      const end = tiles + Math.ceil(n / this.columns) * this.rise;
      return n && end > from - this.rise && tiles < to + this.rise;
    });
    if (!seen.length) return [0, 0];
    const [head, tail] = [seen[0], seen.at(-1)];
    const skipped = Math.max(0, Math.floor((from - head.tiles) / this.rise) - 1);
    const shown = Math.max(0, Math.ceil((to - tail.tiles) / this.rise) + 1);
    return [
      head.first + Math.min(skipped * this.columns, head.n - 1),
      Math.min(tail.first + shown * this.columns, tail.first + tail.n),
    ];
  }

  // The tile so many rows further down (or up), in the same column where that row is long enough.
  below(i, rows) {
    const way = Math.sign(rows);
    let at = i;
    for (let left = Math.abs(rows); left; left--) {
      const next = this.beside(at, way);
      if (next === at) break;
      at = next;
    }
    return at;
  }

  beside(i, way) {
    const column = this.column(i);
    let number = this.blocks.indexOf(this.of(i));
    let row = Math.floor((i - this.blocks[number].first) / this.columns) + way;
    for (;;) {
      const block = this.blocks[number];
      const last = Math.ceil(block.n / this.columns) - 1;
      if (row >= 0 && row <= last) return Math.min(block.first + row * this.columns + column, block.first + block.n - 1);
      number += way;
      if (number < 0 || number >= this.blocks.length) return i;
      row = way > 0 ? 0 : Math.ceil(this.blocks[number].n / this.columns) - 1;
    }
  }

  paint(from, to) {
    const seen = this.given.length ? this.blocks.filter(({ top, tiles }) => tiles > from - 200 && top < to + 200) : [];
    const wanted = new Set(seen.map(({ section }) => section.id));
    for (const [id, heading] of this.drawn) {
      if (wanted.has(id) || heading.contains(this.active())) continue;
      heading.remove();
      this.drawn.delete(id);
    }
    for (const { section, top, tiles, first } of seen) {
      let heading = this.drawn.get(section.id);
      if (!heading) this.drawn.set(section.id, (heading = this.heading(section, first)));
      heading.first = first;
      heading.style.transform = `translateY(${top}px)`;
      heading.style.height = `${tiles - top}px`;
    }
  }

  heading(section, first) {
    const { id, title, line, picture, deeds } = section;
    const heading = element("div", "heading");
    heading.told = JSON.stringify(section);
    const can = new Map(deeds);
    // With what the button said: when this is heard, it may say another number.
    const acts = (button, deed, label) => {
      Object.assign(button.dataset, { section: id, deed });
      button.addEventListener("click", () => this.grid.act({ kind: "section", id, deed, label }));
    };
    const words = element("div", "words");
    const name = element(can.has("open") ? "button" : "div", "title", can.has("open") ? { type: "button" } : {});
    name.textContent = title;
    const above = element("div", "", { role: "heading", "aria-level": "2" });
    above.append(name);
    const below = element("div", "about");
    below.textContent = line;
    words.append(above, below);
    if (picture) {
      const crop = element("div", "crop");
      showPicture(crop, this.grid.addressOf(picture, 44));
      heading.append(crop);
    }
    const buttons = element("div", "deeds");
    for (const [deed, label] of deeds) {
      if (deed === "open") continue;
      const button = element("button", "deed", { type: "button" });
      button.textContent = label;
      acts(button, deed, label);
      buttons.append(button);
    }
    if (can.has("open")) {
      name.title = can.get("open");
      acts(name, "open", can.get("open"));
    }
    heading.append(words, buttons);
    // In the order of the list, also for who goes through the buttons by keys.
    const next = [...this.layer.children].find((other) => other.first > first);
    this.layer.insertBefore(heading, next ?? null);
    return heading;
  }
}
