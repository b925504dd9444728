// Dragging onto a person with the mouse: people become one, faces go to whom they are dropped on.

const DRAG_FROM = 6;
const NEAR_EDGE = 70;
const SCROLL_BY = 14;

class Dragging {
  constructor(grid) {
    this.grid = grid;
    this.now = null; // what is being dragged
    this.isOver = false; // a drag ended just now: the click that follows is none
  }

  grab(event) {
    const tile = event.target.closest(".tile");
    const isCrop = tile && event.target.closest(".crop");
    this.isOver = false;
    if (!isCrop || event.button !== 0 || event.pointerType !== "mouse" || !this.targets().length) return;
    this.leaving = new AbortController();
    const options = { signal: this.leaving.signal };
    const from = { x: event.clientX, y: event.clientY, id: this.grid.id(tile.at) };
    document.addEventListener("pointermove", (move) => this.move(move, from), options);
    document.addEventListener("pointerup", () => this.end(true), options);
    document.addEventListener("pointercancel", () => this.end(), options);
    document.addEventListener("keydown", (key) => key.key === "Escape" && this.now && this.end(), { ...options, capture: true });
  }

  // Onto whom: people onto each other, faces onto the people in the strip.
  targets() {
    return this.grid.list.kind === "people" ? this.grid.order : this.grid.list.targets;
  }

  move(event, from) {
    if (!this.now && Math.hypot(event.clientX - from.x, event.clientY - from.y) < DRAG_FROM) return;
    event.preventDefault();
    if (!this.now) this.begin(from.id);
    Object.assign(this.now, { x: event.clientX, y: event.clientY });
    this.now.ghost.style.transform = `translate(${event.clientX + 12}px, ${event.clientY + 10}px)`;
    this.aim();
  }

  begin(id) {
    const { grid } = this;
    const ids = grid.chosen.has(id) ? [...grid.chosen].filter((one) => grid.at.has(one)) : [id];
    const ghost = element("div", "ghost");
    const crops = ids.slice(0, 3).map((one) => {
      const crop = element("div", "crop");
      showPicture(crop, grid.address(grid.at.get(one), 48));
      return crop;
    });
    const words = element("span", "text");
    ghost.append(...crops, words);
    grid.root.append(ghost);
    grid.root.classList.add("dragging");
    document.documentElement.classList.add("fc-dragging"); // the bar at the foot of the page makes way
    this.now = { ids, ghost, words, onto: null, x: 0, y: 0 };
    this.strip();
    this.scroll();
  }

  // Faces are given to people who stand in a strip at the foot of the window while something is dragged.
  strip() {
    const { list, root } = this.grid;
    if (list.kind === "people") return;
    const strip = element("div", "strip");
    for (const person of list.targets) {
      const target = element("div", "target");
      target.person = person;
      const crop = element("div", "crop");
      showPicture(crop, this.grid.addressOf(person.picture, 48));
      const name = element("div", "name");
      name.textContent = person.name;
      target.append(crop, name);
      strip.append(target);
    }
    root.append(strip);
    this.now.strip = strip;
  }

  aim() {
    const { grid } = this;
    const at = grid.root.getRootNode().elementFromPoint(this.now.x, this.now.y);
    const found = at?.closest(grid.list.kind === "people" ? ".tile" : ".target");
    const person = found?.person ?? (found && { id: grid.id(found.at), name: grid.name(grid.id(found.at)) });
    const onto = person && !this.now.ids.includes(person.id) ? { ...person, element: found } : null;
    if (this.now.onto?.element !== onto?.element) {
      this.now.onto?.element.classList.remove("onto");
      onto?.element.classList.add("onto");
    }
    this.now.onto = onto;
    this.now.words.textContent = this.words(onto);
  }

  words(onto) {
    const n = this.now.ids.length;
    const isPeople = this.grid.list.kind === "people";
    const what = isPeople ? (n === 1 ? "1 person" : `${n} people`) : n === 1 ? "1 face" : `${n} faces`;
    if (!onto) return what;
    const name = onto.name || "this person";
    return isPeople ? `Merge into ${name}` : `Give ${what} to ${name}`;
  }

  scroll() {
    if (!this.now) return;
    const { y } = this.now;
    if (y && y < NEAR_EDGE) this.grid.scroller().scrollBy(0, -SCROLL_BY);
    if (y > window.innerHeight - NEAR_EDGE && !this.now.strip) this.grid.scroller().scrollBy(0, SCROLL_BY);
    requestAnimationFrame(() => this.scroll());
  }

  end(isDropped = false) {
    this.leaving?.abort();
    if (!this.now) return;
    const { ids, onto, ghost, strip } = this.now;
    this.now = null;
    this.isOver = true;
    ghost.remove();
    strip?.remove();
    onto?.element.classList.remove("onto");
    this.grid.root.classList.remove("dragging");
    document.documentElement.classList.remove("fc-dragging");
    if (isDropped && onto) this.grid.act({ kind: "drop", ids, onto: onto.id });
  }
}
