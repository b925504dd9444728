// The face under the pointer: who it is at once, its picture as soon as Python has sent it.

const PAUSE_MS = 60; // a pointer on its way somewhere else asks for nothing

function place(card, { left, top }) {
  const { width, height } = card.getBoundingClientRect(), gap = 18;
  card.style.left = `${left + gap + width > innerWidth ? Math.max(left - gap - width, 4) : left + gap}px`;
  card.style.top = `${Math.min(Math.max(top - height / 2, 4), innerHeight - height - 4)}px`;
}

class Card {
  constructor(root) {
    this.card = root.querySelector(".card");
    this.known = new Map();
    this.heard = ({ detail }) => this.point(detail);
    window.addEventListener("facecluster-map", this.heard);
  }

  point(at) {
    clearTimeout(this.pause);
    this.at = at;
    this.card.hidden = !at;
    if (!at) return;
    const [origin, line] = this.card.querySelectorAll("p");
    this.card.querySelector("b").textContent = at.name;
    origin.textContent = at.line;
    line.textContent = "";
    this.card.querySelector("img").removeAttribute("src");
    const known = this.known.get(`${at.x} ${at.y}`);
    if (known) this.fill(known);
    else this.pause = setTimeout(() => this.tell("selection", { points: [{ x: at.x, y: at.y }] }), PAUSE_MS);
    place(this.card, at);
  }

  show(data) {
    if (data.picture === undefined) return;
    if (this.known.size > 500) this.known.clear();
    this.known.set(`${data.x} ${data.y}`, data);
    if (this.at && this.at.x === data.x && this.at.y === data.y) {
      this.fill(data);
      place(this.card, this.at);
    }
  }

  fill({ picture, origin }) {
    const img = this.card.querySelector("img");
    img.referrerPolicy = "no-referrer";
    img.src = picture;
    this.card.querySelectorAll("p")[1].textContent = origin;
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const card = (parentElement.faceCard ??= new Card(parentElement));
  card.tell = setTriggerValue;
  card.show(data);
  return () => {
    clearTimeout(card.pause);
    window.removeEventListener("facecluster-map", card.heard);
    delete parentElement.faceCard;
  };
}
