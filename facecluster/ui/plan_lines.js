// Lines of a plan, each a button that opens all its faces. A line that is told as before keeps its element, so that a
// move of a slider loads no picture again. Words are data: they reach the page as textContent.

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  parentElement.planLines ??= new PlanLines(parentElement);
  const list = parentElement.planLines;
  list.open = (id) => setTriggerValue("opened", id);
  list.show(data);
  return () => {
    list.near.disconnect();
    list.root.remove();
    delete parentElement.planLines;
  };
}

function make(tag, className = "", attributes = {}, ...inside) {
  const made = document.createElement(tag);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

class PlanLines {
  constructor(host) {
    this.root = make("div", "plan");
    this.list = make("ul", "", { role: "list" });
    this.root.append(this.list);
    this.items = new Map();
    this.list.addEventListener("click", (event) => {
      const line = event.target.closest(".line");
      if (line) this.open(line.dataset.id);
    });
    // A plan changes faster than it is scrolled through: only lines near the window load their pictures.
    this.near = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) {
        if (!isIntersecting) continue;
        this.near.unobserve(target);
        for (const one of target.querySelectorAll("img")) one.src = one.dataset.src;
      }
    }, { rootMargin: "250px" });
    this.list.addEventListener("keydown", (event) => this.press(event));
    this.list.addEventListener("focusin", (event) => this.focusable(event.target.closest(".line")));
    host.appendChild(this.root);
  }

  show({ lines, base, side, label }) {
    this.list.setAttribute("aria-label", label);
    const before = this.items, had = this.root.getRootNode().activeElement?.dataset.id;
    this.items = new Map(lines.map((line) => {
      const told = JSON.stringify([base, line]), old = before.get(line.id);
      return [line.id, old?.told === told ? old : { told, item: this.item(line, base, side) }];
    }));
    this.list.replaceChildren(...[...this.items.values()].map(({ item }) => item));
    const buttons = this.buttons();
    this.focusable(buttons.find((one) => one.dataset.id === had) ?? buttons[0]);
    if (had && this.items.has(had)) this.list.querySelector('[tabindex="0"]').focus({ preventScroll: true });
  }

  item({ id, title, detail, alarm, cover, strips, aloud }, base, side) {
    const picture = (name) => {
      const address = name.startsWith("https://") ? name : `${base}${name || "none"}.jpg?s=${side}`;
      return make("img", "", { alt: "", decoding: "async", referrerpolicy: "no-referrer", "data-src": address });
    };
    const words = make("span", "words", {}, make("b", "", {}, title));
    if (detail) words.append(make("small", "", {}, detail));
    if (alarm) words.append(make("small", "alarm", {}, alarm));
    const groups = strips.map(({ pictures, more, label }) => {
      const strip = make("span", "strip", { role: "img", "aria-label": label, title: label }, ...pictures.map(picture));
      if (more) strip.append(make("span", "", {}, `+${more.toLocaleString("en")}`));
      return strip;
    });
    const line = make(
      "button", "line", { type: "button", tabindex: "-1", "aria-label": aloud, title: "See all these faces" },
      make("span", "cover", {}, ...(cover === null ? [] : [picture(cover)])), words, make("span", "strips", {}, ...groups),
    );
    line.dataset.id = id;
    const item = make("li", "", {}, line);
    this.near.observe(item);
    return item;
  }

  buttons() {
    return [...this.list.querySelectorAll(".line")];
  }

  focusable(line) {
    if (!line) return;
    for (const one of this.list.querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
    line.tabIndex = 0;
  }

  press(event) {
    const all = this.buttons(), at = all.indexOf(event.target.closest(".line"));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    all[to]?.focus();
  }
}
