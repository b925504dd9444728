// The face grid: people or faces, as many as there are, of which only those in sight are drawn.
//
// What is shown comes in parts, so that an act resends a few hundred bytes and not the list: the list itself as the
// component's data; which of it, in which order, and what changed since, over window (see `face_grid.py`).
// Names are data: they reach the page as textContent, never as markup.

const GAP = 20;
const CAPTION = 50;
const LEAST = 72;
const MOST = 260;
const USUAL = { people: 150, faces: 118 };
const CORNER = 40;
const PHONE = 480;
const TIGHT = 640; // the tools of People take two rows
const ROOMY = 960;
const REPORT_MS = 250;
const RESEND_MS = 4000;

// The list comes as bytes of JSON, which the server makes once for all who look; it is read when it is another one.
function readOnce(host, bytes) {
  if (host.faceGridBytes !== bytes) {
    host.faceGridBytes = bytes;
    host.faceGridData = JSON.parse(new TextDecoder().decode(bytes));
  }
  return host.faceGridData;
}

export default function (component) {
  const { parentElement, setTriggerValue, setStateValue } = component;
  const data = readOnce(parentElement, component.data);
  parentElement.faceGrid ??= new FaceGrid(parentElement, data.key);
  const grid = parentElement.faceGrid;
  grid.send = (acts) => setTriggerValue("acts", acts);
  grid.report = (ids) => setStateValue("selected", ids);
  grid.show(data);
  return () => {
    grid.destroy();
    delete parentElement.faceGrid;
  };
}

const element = (tag, className, attributes = {}) => {
  const made = document.createElement(tag);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

function showPicture(crop, address) {
  if (crop.address === address) return;
  crop.address = address;
  // A new element: the old one would show somebody else's face until the new picture is there.
  crop.replaceChildren();
  if (!address) return;
  const image = element("img", "", { alt: "", draggable: "false", decoding: "async" });
  image.addEventListener("error", () => image.remove());
  image.src = address;
  crop.append(image);
}

class FaceGrid {
  constructor(host, key) {
    this.key = key;
    this.mount = Math.random().toString(36).slice(2);
    this.list = null;
    this.order = null;
    this.spec = null;
    this.changed = {};
    this.gone = new Set(); // in the list, and nobody any more
    this.turn = null;
    this.chosen = new Set();
    this.before = new Set();
    this.pending = [];
    this.count = 0;
    this.tiles = new Map();
    this.free = [];
    this.focus = 0;
    this.anchor = 0;
    this.build(host);
    this.naming = new Naming(this);
    this.dragging = new Dragging(this);
    this.sections = new Sections(this);
    this.hear();
  }

  build(host) {
    this.root = element("div", "grid");
    this.slider = element("input", "size", { type: "range", min: LEAST, max: MOST, "aria-label": "Size of the faces" });
    this.stage = element("div", "stage");
    this.space = element("div", "space", { role: "listbox", "aria-multiselectable": "true" });
    this.live = element("div", "aloud", { "aria-live": "polite" });
    this.stage.append(this.space);
    this.hint = element("div", "hint");
    const tools = element("div", "tools");
    tools.append(this.hint, this.slider);
    this.root.append(tools, this.stage, this.live);
    host.appendChild(this.root);
  }

  hear() {
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    const on = (target, name, act, options = {}) => target.addEventListener(name, act, { signal, ...options });
    on(document, "scroll", () => this.later(), { capture: true, passive: true });
    on(window, "resize", () => this.layout());
    on(window, "facecluster-part", (event) => event.detail === this.key && this.take());
    on(this.slider, "input", () => this.resize());
    on(this.space, "click", (event) => this.click(event));
    on(this.space, "keydown", (event) => this.press(event));
    on(this.space, "focusin", (event) => this.focused(event));
    on(this.space, "pointerdown", (event) => this.dragging.grab(event));
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.stage);
  }

  destroy() {
    this.dragging.end();
    this.leaving.abort();
    this.watch.disconnect();
    clearTimeout(this.resending);
    clearTimeout(this.reporting);
    this.root.remove();
  }

  // --- what is shown ------------------------------------------------------------------------------------------

  show(list) {
    if (list.version === this.list?.version) return;
    this.list = list;
    this.hasLines = list.lines.some(Boolean) || list.likeness.length > 0;
    this.slider.value = this.size = this.keptSize();
    this.hint.textContent = list.hint;
    this.at = new Map(list.ids.map((id, i) => [id, i]));
    this.space.setAttribute("aria-label", list.label);
    this.naming.forget();
    this.take();
  }

  take() {
    const parts = window.faceclusterParts ?? {};
    const order = parts[`${this.key} order`];
    const now = parts[`${this.key} now`];
    if (!this.list || !order || !now || order.version !== this.list.version) return;
    const [held, anchored] = [this.id(this.focus), this.id(this.anchor)];
    const hadFocus = this.space.contains(this.root.getRootNode().activeElement);
    const isOther = this.spec !== null && this.spec !== order.spec;
    this.order = order.rows ?? this.list.ids.map((_, i) => i);
    this.spec = order.spec;
    const deed = this.sections.take(order.sections);
    this.changed = now.changed;
    if (now.gone.length !== this.gone.size) this.naming.forget();
    this.gone = new Set(now.gone);
    if (now.mount === this.mount) this.pending = this.pending.filter((act) => act.n > now.done);
    if (this.turn === null || (now.turn !== this.turn && !now.isEcho)) {
      this.chosen = new Set(now.selected);
      this.before = new Set();
    }
    this.turn = now.turn;
    this.focus = this.placeOf(held) ?? clamp(this.focus, 0, Math.max(this.order.length - 1, 0));
    this.anchor = this.placeOf(anchored) ?? this.focus;
    if (isOther) this.toTop();
    for (const tile of this.tiles.values()) tile.isStale = true;
    this.layout();
    // The keys go on with the next face where the one that had the focus is gone.
    const goesOn = (deed && this.sections.button(deed)) ?? ((deed || hadFocus) && this.order.length && this.tile(this.focus));
    if (goesOn) goesOn.focus({ preventScroll: true });
    this.comeBack();
  }

  placeOf(id) {
    const place = this.order.findIndex((i) => this.list.ids[i] === id);
    return place < 0 ? null : place;
  }

  id(i) {
    return this.list && this.order ? this.list.ids[this.order[i]] : undefined;
  }

  name(id) {
    const waiting = this.pending.findLast((act) => act.kind === "rename" && act.id === id);
    return waiting ? waiting.name : this.changed[id]?.[0] ?? this.list.names[this.at.get(id)] ?? "";
  }

  line(id) {
    return this.changed[id]?.[1] ?? this.list.lines[this.at.get(id)];
  }

  warning(id) {
    return this.changed[id]?.[2] ?? this.list.warnings[id] ?? "";
  }

  // How alike, and how alike it has to be; null where no bar is drawn.
  likeness(id) {
    return this.changed[id] ? this.changed[id][3] : this.list.likeness[this.at.get(id)] ?? null;
  }

  // Where a picture lies, for so many pixels on the screen; "" for a face without one.
  address(row, side) {
    return this.addressOf(this.changed[this.list.ids[row]]?.[4] ?? this.list.pictures[row], side);
  }

  addressOf(name, side) {
    if (!name || name.startsWith("https://")) return name;
    const { base, sizes } = this.list;
    const wanted = side * window.devicePixelRatio * 0.8;
    return `${base}${name}.jpg?s=${sizes.find((size) => size >= wanted) ?? sizes.at(-1)}`;
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  layout() {
    const width = this.stage.clientWidth;
    if (width <= 0 || !this.order) return;
    const isPhone = width < PHONE;
    // The size slider stands in the page's own last row of tools where that leaves room for it.
    this.root.classList.toggle("beside", this.list.kind === "people" && (width > ROOMY || (width > PHONE && width < TIGHT)));
    const wanted = isPhone ? this.size * 0.68 : this.size;
    const gap = wanted < 110 ? 12 : GAP;
    this.columns = Math.max(1, Math.floor((width + gap) / (wanted + gap)));
    this.side = (width - gap * (this.columns - 1)) / this.columns;
    this.step = this.side + gap;
    const caption = this.list.isNamed ? CAPTION : this.hasLines ? CAPTION - 20 : 4;
    this.rise = this.side + caption + (gap === GAP ? 20 : 10);
    this.space.hidden = !this.order.length;
    this.space.style.height = `${this.sections.lay(this.order.length, this.columns, this.rise, width)}px`;
    this.root.classList.toggle("small", this.side < 110);
    for (const [i, tile] of this.tiles) this.place(tile, i);
    this.paint();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.paint();
    });
  }

  paint() {
    if (!this.order || !this.columns) return;
    const top = this.space.getBoundingClientRect().top;
    const [first, end] = this.sections.between(-top, window.innerHeight - top);
    this.sections.paint(-top, window.innerHeight - top);
    for (const [i, tile] of this.tiles) {
      if ((i < first || i >= end) && (i !== this.focus || i >= this.order.length)) this.drop(i, tile);
      else if (tile.isStale) this.fill(tile, i);
    }
    for (let i = first; i < end; i++) this.tile(i);
    if (this.order.length) this.tile(this.focus);
    this.naming.place();
  }

  drop(i, tile) {
    this.tiles.delete(i);
    tile.remove();
    this.free.push(tile);
  }

  tile(i) {
    let tile = this.tiles.get(i);
    if (tile) return tile;
    tile = this.free.pop() ?? this.blank();
    this.tiles.set(i, tile);
    this.fill(tile, i);
    // In the order of the list, also for who reads the page and not the picture.
    const next = [...this.space.children].find((other) => other.at > i);
    this.space.insertBefore(tile, next ?? null);
    return tile;
  }

  blank() {
    const tile = element("div", "tile", { role: "option" });
    tile.append(element("div", "crop"), element("div", "name"), element("div", "line"));
    [tile.crop, tile.label, tile.line] = tile.children;
    tile.bar = element("span", "bar");
    tile.bar.append(element("i", "level"), element("i", "cut"));
    tile.text = element("span", "text");
    tile.warning = element("span", "warning");
    tile.line.append(tile.bar, tile.text, tile.warning);
    return tile;
  }

  fill(tile, i) {
    const id = this.id(i);
    const name = this.name(id);
    tile.at = i;
    tile.isStale = false;
    showPicture(tile.crop, this.address(this.order[i], this.side));
    tile.label.textContent = this.list.isNamed ? name || "Add name" : "";
    tile.label.title = name;
    tile.label.classList.toggle("unnamed", !name);
    this.tell(tile, id, name);
    tile.setAttribute("aria-posinset", i + 1);
    tile.setAttribute("aria-setsize", this.order.length);
    this.mark(tile);
    this.place(tile, i);
  }

  // The grey line below: a bar where likeness is drawn, words, and in amber what to look at.
  tell(tile, id, name) {
    const [line, warning, likeness] = [this.line(id), this.warning(id), this.likeness(id)];
    tile.text.textContent = line;
    tile.warning.textContent = warning;
    tile.line.title = warning ? `${line} · ${warning}` : line;
    tile.bar.hidden = !likeness;
    if (likeness) {
      const [level, cut] = likeness;
      tile.bar.children[0].style.width = `${100 * clamp(level, 0, 1)}%`;
      tile.bar.children[0].classList.toggle("reached", cut !== null && level >= cut);
      tile.bar.children[1].hidden = cut === null;
      tile.bar.children[1].style.left = `${100 * clamp(cut ?? 0, 0, 1)}%`;
    }
    const said = [this.list.isNamed && (name || "Add name"), line, warning, this.sections.title(tile.at)];
    tile.setAttribute("aria-label", said.filter(Boolean).join(", ") || "Face");
  }

  refill(id) {
    for (const tile of this.tiles.values()) if (this.id(tile.at) === id) this.fill(tile, tile.at);
  }

  place(tile, i) {
    const x = this.sections.column(i) * this.step;
    const y = this.sections.row(i);
    tile.style.transform = `translate(${x}px, ${y}px)`;
    tile.style.width = `${this.side}px`;
  }

  mark(tile) {
    tile.setAttribute("aria-selected", this.chosen.has(this.id(tile.at)));
    tile.tabIndex = tile.at === this.focus ? 0 : -1;
  }

  say(text) {
    this.live.textContent = text;
  }

  sizeKey() {
    return `facecluster-grid-size-${this.list.kind}`;
  }

  keptSize() {
    try {
      return clamp(Number(localStorage.getItem(this.sizeKey())) || USUAL[this.list.kind], LEAST, MOST);
    } catch {
      return USUAL[this.list.kind]; // a browser that keeps nothing
    }
  }

  resize() {
    this.size = Number(this.slider.value);
    try {
      localStorage.setItem(this.sizeKey(), this.size);
    } catch {
      // as above: the size holds until the page is left
    }
    for (const tile of this.tiles.values()) tile.isStale = true;
    this.layout();
  }

  // --- scrolling ------------------------------------------------------------------------------------------------

  scroller() {
    let node = this.root;
    while (node) {
      if (node instanceof Element && /auto|scroll/.test(getComputedStyle(node).overflowY)) {
        if (node.scrollHeight > node.clientHeight) return node;
      }
      node = node.parentNode ?? node.host;
    }
    return document.scrollingElement;
  }

  toTop() {
    const box = this.root.getBoundingClientRect();
    if (box.top < 0) this.scroller().scrollBy(0, box.top - 80);
  }

  // Back from a person, the list stands where it stood.
  comeBack() {
    const places = (window.faceclusterPlaces ??= {});
    const left = places[this.key];
    if (!left) return;
    delete places[this.key];
    const place = this.placeOf(left.id);
    if (place === null) return;
    this.focus = place;
    requestAnimationFrame(() => {
      this.scroller().scrollTop = left.top;
      this.paint();
    });
  }

  open(i) {
    const id = this.id(i);
    (window.faceclusterPlaces ??= {})[this.key] = { top: this.scroller().scrollTop, id };
    this.act({ kind: "open", id });
  }

  // --- moving and choosing --------------------------------------------------------------------------------------

  go(i, isRange = false) {
    const next = clamp(i, 0, this.order.length - 1);
    const old = this.tiles.get(this.focus);
    this.focus = next;
    if (old) this.mark(old);
    const tile = this.tile(next);
    this.mark(tile);
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
    this.paint();
    if (isRange) this.range(next);
    else this.start(next);
    return tile;
  }

  start(i) {
    this.anchor = i;
    this.before = new Set(this.chosen);
  }

  focused(event) {
    const tile = event.target.closest(".tile");
    if (!tile || tile.at === this.focus) return;
    const old = this.tiles.get(this.focus);
    this.focus = tile.at;
    if (old) this.mark(old);
    this.mark(tile);
  }

  range(end) {
    const [a, b] = [Math.min(this.anchor, end), Math.max(this.anchor, end)];
    const between = this.order.slice(a, b + 1).map((row) => this.list.ids[row]);
    this.choose(new Set([...this.before, ...between]));
  }

  toggle(i) {
    const id = this.id(i);
    const chosen = new Set(this.chosen);
    if (!chosen.delete(id)) chosen.add(id);
    this.choose(chosen);
    this.start(i);
  }

  choose(chosen) {
    this.chosen = chosen;
    for (const tile of this.tiles.values()) this.mark(tile);
    this.say(`${chosen.size} selected`);
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => this.report([...this.chosen]), REPORT_MS);
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (!tile || this.dragging.isOver) return;
    const i = tile.at;
    if (event.target === tile.label && this.list.isNamed && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
      this.go(i);
      this.naming.start(i);
      return;
    }
    const box = tile.crop.getBoundingClientRect();
    const isCorner = event.clientX - box.left < CORNER && event.clientY - box.top < CORNER;
    if (event.shiftKey) {
      this.range(i);
      const { anchor, before } = this;
      this.go(i);
      Object.assign(this, { anchor, before });
    } else if (event.ctrlKey || event.metaKey || isCorner || this.chosen.size) {
      this.go(i);
      this.toggle(i);
    } else {
      this.go(i);
      this.open(i);
    }
  }

  press(event) {
    if (!event.target.closest(".tile")) return;
    const { key } = event;
    const page = Math.max(1, Math.floor((window.innerHeight - 140) / this.rise));
    const rows = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const moves = { ArrowRight: this.focus + 1, ArrowLeft: this.focus - 1, Home: 0, End: this.order.length - 1 };
    const isModified = event.ctrlKey || event.metaKey || event.altKey;
    const deeds = {
      " ": () => this.toggle(this.focus),
      F2: () => this.list.isNamed && this.naming.start(this.focus),
      Enter: () => this.open(this.focus),
      Escape: () => this.chosen.size && this.choose(new Set()),
    };
    if (key in rows) this.go(this.sections.below(this.focus, rows[key]), event.shiftKey);
    else if (key in moves) this.go(moves[key], event.shiftKey);
    else if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "a") this.chooseAll();
    else if (key in deeds && !isModified) deeds[key]();
    // While something is selected, letters are what the buttons below say.
    else if (!isModified && !this.chosen.size && this.list.isNamed && key.length === 1) this.naming.start(this.focus, key);
    else if (!isModified && !this.chosen.size && this.list.keys.includes(key.toLowerCase())) {
      this.act({ kind: "key", key: key.toLowerCase(), id: this.id(this.focus) });
      if (this.list.passing.includes(key.toLowerCase())) this.go(this.focus + 1);
    }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  chooseAll() {
    this.choose(new Set([...this.chosen, ...this.order.map((row) => this.list.ids[row])]));
  }

  // --- acts -----------------------------------------------------------------------------------------------------

  // Every act has a number and is sent until it is answered for; one that arrives twice is done once.
  act(what) {
    this.count += 1;
    this.pending.push({ ...what, n: this.count, mount: this.mount });
    this.resend();
  }

  resend() {
    clearTimeout(this.resending);
    if (!this.pending.length) return;
    this.send(this.pending);
    this.resending = setTimeout(() => this.resend(), RESEND_MS);
  }
}
