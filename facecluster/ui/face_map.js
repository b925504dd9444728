// The face map: plotly.js draws the points, a sheet over them what the pointer does. Shapes, clicks and looks are told in
// the units of the map. One instance lives as long as the component is mounted: whatever changes, zoom and shapes stay.

const CONFIG = {
  displayModeBar: false,
  displaylogo: false,
  doubleClick: false,
  responsive: true,
  scrollZoom: true,
  // plotly's own defaults offer to send the figure to a server.
  showSendToCloud: false,
  plotlyServerURL: "",
};
const NOISE = { light: "#cbc3b7", dark: "#4c4740" };
const PAUSE_MS = 250; // a look is over when the map has not moved for so long
const NEAR = 10; // pixels from a point that still mean it
const SLACK = 4; // pixels that a click may move

let library;
function plotly(url) {
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => done(window.Plotly);
    script.onerror = () => { library = undefined; script.remove(); failed(new Error("plotly.js")); };
    document.head.append(script);
  });
  return library;
}

function numbers(kind, text) {
  return new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

// plotly reads a little markup in what it writes; a name is text.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const counted = (n) => `${n.toLocaleString("en")} ${n === 1 ? "face" : "faces"}`;

class FaceMap {
  constructor(root) {
    this.root = root;
    this.plot = root.querySelector(".fc-map-plot");
    this.over = root.querySelector("canvas");
    this.said = root.querySelector(".fc-map-said");
    this.work = Promise.resolve();
    this.shapes = []; // what was drawn around, each a list of corners in the units of the map
    for (const button of root.querySelectorAll("[data-drag]")) button.onclick = () => this.dragging(button.dataset.drag);
    for (const button of root.querySelectorAll("[data-do]")) button.onclick = () => this[button.dataset.do]();
    this.dragging(matchMedia("(pointer: coarse)").matches ? "pan" : "lasso");
    const on = (name, does, options) => this.plot.addEventListener(name, does, options);
    on("keydown", (event) => this.key(event));
    on("pointerdown", (event) => this.press(event), true);
    on("pointermove", (event) => this.follow(event), true);
    on("pointerup", (event) => this.release(event), true);
    on("pointercancel", () => this.giveUp(), true);
    on("pointerleave", () => this.point(null));
    this.clear = () => { this.shapes = []; this.sketch(); };
    window.addEventListener("facecluster-map-clear", this.clear);
    // plotly drags by these: while a shape is drawn, the map stays where it is.
    for (const name of ["mousedown", "touchstart"]) {
      on(name, (event) => this.drag !== "pan" && event.stopPropagation(), { capture: true, passive: true });
    }
  }

  show(data) {
    this.work = this.work.then(() => this.draw(data)).catch((error) => {
      if (error.message !== "plotly.js") throw error;
      this.said.textContent = "The map could not be drawn: its program did not arrive. Reload the page; " +
        "if it stays, start the dashboard with “facecluster” or “streamlit run app.py”.";
    });
  }

  async draw(data) {
    this.lib = await plotly(data.plotly);
    if (this.removed) return;
    const ink = this.ink(), key = data.key + ink.text;
    if (this.drawn !== key) {
      this.read(data);
      this.inkNow = ink;
      await this.lib.react(this.plot, this.traces(ink), this.layout(data, ink), CONFIG);
      if (!this.drawn) this.listen();
      this.drawn = key;
      this.plot.dataset.drawn = data.key;
      this.plot.setAttribute("aria-label", `${data.label} Arrow keys move, plus and minus zoom, 0 shows the whole ` +
        "map, Enter selects what is in view.");
      this.said.textContent = "";
    }
    this.owner = -1;
    this.sketch();
    const focus = data.focus?.id;
    if (focus && this.focus !== focus) this.look(data.focus.frame);
    this.focus = focus;
  }

  read(data) {
    this.data = data;
    this.xy = numbers(Float32Array, data.xy);
    this.who = numbers(Int32Array, data.who);
    const chosen = data.focus?.person ?? -2;
    this.parts = [[], [], []]; // nobody's, everybody's, and those of the person who was looked for
    for (let i = 0; i < this.who.length; i++) this.parts[this.who[i] < 0 ? 0 : this.who[i] === chosen ? 2 : 1].push(i);
  }

  ink() {
    const style = getComputedStyle(this.root);
    const value = (name) => style.getPropertyValue(`--st-${name}`).trim();
    const paper = value("background-color");
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = paper || "#fff";
    const bits = parseInt(probe.fillStyle.slice(1), 16);
    const light = ((bits >> 16) & 255) + ((bits >> 8) & 255) + (bits & 255) >= 384;
    const hues = value("chart-categorical-colors").match(/#[0-9a-f]{6}\b|rgba?\([^)]*\)/gi) ?? ["#7a93ba"];
    const text = value("text-color"), muted = value("gray-text-color"), font = value("font");
    return { paper, hues, text, muted, font, accent: value("link-color"), noise: light ? NOISE.light : NOISE.dark };
  }

  traces(ink) {
    const found = this.parts[2].length > 0;
    const dots = (part, marker) => {
      const x = new Float32Array(part.length), y = new Float32Array(part.length);
      part.forEach((i, at) => { x[at] = this.xy[2 * i]; y[at] = this.xy[2 * i + 1]; });
      return { type: "scattergl", mode: "markers", x, y, marker, hoverinfo: "skip" };
    };
    const hue = (part) => Int8Array.from(part, (i) => this.data.people[this.who[i]][2] % ink.hues.length);
    const last = ink.hues.length - 1;
    const colorscale = ink.hues.map((colour, i) => [last ? i / last : i, colour]);
    if (!last) colorscale.push([1, ink.hues[0]]);
    const cycle = { colorscale, cmin: 0, cmax: last || 1, showscale: false };
    const ring = { color: ink.text, width: 1 };
    return [
      dots(this.parts[0], { color: ink.noise, size: 3, opacity: found ? 0.3 : 0.8 }),
      dots(this.parts[1], { ...cycle, color: hue(this.parts[1]), size: 5, opacity: found ? 0.14 : 0.85 }),
      dots(this.parts[2], { ...cycle, color: hue(this.parts[2]), size: 8, opacity: 1, line: ring }),
    ];
  }

  layout(data, ink) {
    const now = this.plot._fullLayout, pad = 0.04;
    const [left, bottom, right, top] = data.frame, x = (right - left) * pad, y = (top - bottom) * pad;
    this.frame = [left - x, bottom - y, right + x, top + y];
    const range = this.drawn ? [now.xaxis.range, now.yaxis.range] : [[left - x, right + x], [bottom - y, top + y]];
    const axis = { visible: false, autorange: false };
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false,
      // The pointer is followed here: plotly would test every point again at each move, and draw all of them anew.
      hovermode: false,
      dragmode: "pan",
      xaxis: { ...axis, range: [...range[0]] },
      yaxis: { ...axis, range: [...range[1]], scaleanchor: "x", scaleratio: 1 },
      font: { family: ink.font, color: ink.text },
      annotations: data.labels.map(([at, above, text, isNamed]) => ({
        x: at, y: above, yanchor: "bottom", yshift: 3, showarrow: false, borderpad: 1, text: plain(text),
        bgcolor: ink.paper, opacity: 0.86, captureevents: false, font: { size: 13, color: isNamed ? ink.text : ink.muted },
      })),
    };
  }

  listen() {
    const { plot } = this;
    plot.on("plotly_relayouting", () => { this.point(null); this.sketch(); });
    plot.on("plotly_afterplot", () => this.sketch());
    plot.on("plotly_relayout", (change) => {
      this.sketch();
      if (!Object.keys(change).some((name) => name.includes("axis.range"))) return;
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.looked(), PAUSE_MS);
    });
  }

  get window() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    return [xaxis.range[0], yaxis.range[0], xaxis.range[1], yaxis.range[1]];
  }

  looked() {
    if (this.removed || this.data.isWhole && !this.detailed) return;
    const [left, bottom, right, top] = this.window, [l, b, r, t] = this.frame;
    const all = left <= l && bottom <= b && right >= r && top >= t;
    if (all && !this.detailed) return;
    this.detailed = !all;
    this.tell("selection", { view: all ? null : [left, bottom, right, top] });
  }

  // --- the pointer ----------------------------------------------------------------------------------------------

  place(event) {
    const box = this.plot.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    if (!this.drawn || event.button !== 0) return;
    this.pressed = { at: this.place(event), range: this.window, corners: [this.place(event)], adds: event.shiftKey };
    if (this.drag !== "pan") this.plot.setPointerCapture(event.pointerId);
  }

  follow(event) {
    if (!this.drawn) return;
    const here = this.place(event);
    if (!this.pressed) this.point(this.nearest(here), event);
    else if (this.drag !== "pan") {
      const { at, corners } = this.pressed;
      if (this.drag === "lasso") corners.push(here);
      else this.pressed.corners = [at, [here[0], at[1]], here, [at[0], here[1]]];
      this.point(null);
      this.sketch();
    }
  }

  release(event) {
    const { pressed } = this;
    this.pressed = undefined;
    if (!pressed) return;
    const here = this.place(event);
    if (Math.hypot(here[0] - pressed.at[0], here[1] - pressed.at[1]) < SLACK && pressed.corners.length < 8) {
      this.clicked(this.nearest(here));
    } else if (this.drag !== "pan") {
      const { xaxis, yaxis } = this.plot._fullLayout;
      const shape = pressed.corners.map(([x, y]) => [xaxis.p2l(x), yaxis.p2l(y)]);
      this.around(pressed.adds ? [...this.shapes, shape] : [shape]);
    }
    this.sketch();
  }

  act(detail) {
    window.dispatchEvent(new CustomEvent("facecluster-map-act", { detail }));
  }

  giveUp() {
    this.pressed = undefined;
    this.sketch();
  }

  around(shapes) {
    this.shapes = shapes;
    this.act({ lasso: shapes.map((s) => ({ x: s.map((c) => c[0]), y: s.map((c) => c[1]) })) });
  }

  // The drawn point at a place on the screen, -1 where there is none.
  nearest([x, y]) {
    const { xaxis, yaxis } = this.plot._fullLayout, scale = xaxis.l2p(xaxis.range[0] + 1);
    const left = xaxis.p2l(x), top = yaxis.p2l(y), reach = (NEAR / scale) ** 2;
    let found = -1, least = reach;
    for (let i = 0; i < this.who.length; i++) {
      const away = (this.xy[2 * i] - left) ** 2 + (this.xy[2 * i + 1] - top) ** 2;
      if (away < least) [found, least] = [i, away];
    }
    return found;
  }

  clicked(i) {
    if (i < 0) return;
    this.point(null);
    this.act({ points: [{ x: this.xy[2 * i], y: this.xy[2 * i + 1] }] });
  }

  // The person under the pointer comes forward, and the card beside it hears of it.
  point(i, event) {
    const at = i === null || i < 0 ? -1 : i;
    this.plot.style.cursor = at >= 0 ? "pointer" : this.drag === "pan" ? "grab" : "crosshair";
    if (at === (this.pointed ?? -1)) return;
    this.pointed = at;
    let detail = null;
    if (at >= 0) {
      const who = this.who[at], [name, n] = who < 0 ? ["In nobody", 0] : this.data.people[who];
      detail = { x: this.xy[2 * at], y: this.xy[2 * at + 1], left: event.clientX, top: event.clientY,
        name: name || "Unnamed", line: who < 0 ? "" : counted(n) };
    }
    window.dispatchEvent(new CustomEvent("facecluster-map", { detail }));
    this.owner = at >= 0 ? this.who[at] : -1;
    this.sketch();
  }

  // --- what lies over the points: shapes, what they leave out, the person under the pointer ----------------------

  sketch() {
    cancelAnimationFrame(this.next);
    this.next = requestAnimationFrame(() => !this.removed && this.drawn && this.paint());
  }

  paint() {
    const { over, plot, inkNow: ink } = this, ratio = devicePixelRatio || 1;
    const { offsetWidth: width, offsetHeight: height } = plot;
    if (over.width !== Math.round(width * ratio) || over.height !== Math.round(height * ratio)) {
      [over.width, over.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const pen = over.getContext("2d"), { xaxis, yaxis } = plot._fullLayout;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const shapes = this.shapes.map((s) => s.map(([x, y]) => [xaxis.l2p(x), yaxis.l2p(y)]));
    const all = this.pressed && this.drag !== "pan" ? [...(this.pressed.adds ? shapes : []), this.pressed.corners] : shapes;
    if (all.length) this.shade(pen, all, width, height, ink);
    if (this.owner >= 0) this.ring(pen, ink);
  }

  // A veil over everything that is not in a shape.
  shade(pen, shapes, width, height, ink) {
    const lines = shapes.map((corners) => {
      const line = new Path2D();
      corners.forEach(([x, y], at) => (at ? line.lineTo(x, y) : line.moveTo(x, y)));
      line.closePath();
      return line;
    });
    pen.globalAlpha = 0.62;
    pen.fillStyle = ink.paper;
    pen.fillRect(0, 0, width, height);
    pen.globalCompositeOperation = "destination-out";
    pen.globalAlpha = 1;
    for (const line of lines) pen.fill(line, "evenodd");
    pen.globalCompositeOperation = "source-over";
    pen.strokeStyle = pen.fillStyle = ink.accent;
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    for (const line of lines) {
      pen.globalAlpha = 0.07;
      pen.fill(line, "evenodd");
      pen.globalAlpha = 1;
      pen.stroke(line);
    }
    pen.setLineDash([]);
  }

  ring(pen, ink) {
    const { xaxis, yaxis } = this.plot._fullLayout;
    pen.fillStyle = ink.accent;
    pen.strokeStyle = ink.paper;
    pen.lineWidth = 1.2;
    for (let i = 0; i < this.who.length; i++) {
      if (this.who[i] !== this.owner) continue;
      pen.beginPath();
      pen.arc(xaxis.l2p(this.xy[2 * i]), yaxis.l2p(this.xy[2 * i + 1]), 4, 0, 7);
      pen.fill();
      pen.stroke();
    }
  }

  // --- the buttons and keys -------------------------------------------------------------------------------------

  dragging(mode) {
    this.drag = mode;
    for (const button of this.root.querySelectorAll("[data-drag]")) {
      const isOn = button.dataset.drag === mode;
      button.setAttribute("aria-checked", isOn);
      button.tabIndex = isOn ? 0 : -1;
      button.onkeydown = (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const all = [...this.root.querySelectorAll("[data-drag]")];
        const next = all[(all.indexOf(button) + step + all.length) % all.length];
        this.dragging(next.dataset.drag);
        next.focus();
      };
    }
    this.plot.style.cursor = mode === "pan" ? "grab" : "crosshair";
  }

  look([left, bottom, right, top]) {
    return this.lib.relayout(this.plot, { "xaxis.range": [left, right], "yaxis.range": [bottom, top] });
  }

  zoom(by) {
    const [left, bottom, right, top] = this.window, x = (left + right) / 2, y = (bottom + top) / 2;
    const half = [(right - left) / 2 * by, (top - bottom) / 2 * by];
    this.look([x - half[0], y - half[1], x + half[0], y + half[1]]);
  }

  move(across, up) {
    const [left, bottom, right, top] = this.window, x = (right - left) * across, y = (top - bottom) * up;
    this.look([left + x, bottom + y, right + x, top + y]);
  }

  in() { this.zoom(0.6); }
  out() { this.zoom(1 / 0.6); }
  whole() { this.look(this.frame); }
  view() {
    const [left, bottom, right, top] = this.window;
    this.around([[[left, bottom], [right, bottom], [right, top], [left, top]]]);
    this.sketch();
  }

  async save() {
    // Transparent on the page, but a picture is looked at elsewhere.
    const { paper } = this.ink(), { offsetWidth: width, offsetHeight: height } = this.plot;
    await this.lib.relayout(this.plot, { paper_bgcolor: paper });
    await this.lib.downloadImage(this.plot, { format: "png", filename: "face map", width, height, scale: 2 });
    await this.lib.relayout(this.plot, { paper_bgcolor: "rgba(0,0,0,0)" });
  }

  key(event) {
    if (event.target !== this.plot || event.ctrlKey || event.metaKey || event.altKey || !this.drawn) return;
    const step = 0.15;
    const does = {
      ArrowLeft: () => this.move(-step, 0), ArrowRight: () => this.move(step, 0),
      ArrowUp: () => this.move(0, step), ArrowDown: () => this.move(0, -step),
      "+": () => this.in(), "=": () => this.in(), "-": () => this.out(), 0: () => this.whole(),
      Enter: () => this.view(), Escape: () => (this.pressed ? this.giveUp() : this.act({ close: true })),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    event.stopPropagation();
    does();
  }

  remove() {
    this.removed = true;
    this.point(null);
    window.removeEventListener("facecluster-map-clear", this.clear);
    clearTimeout(this.pause);
    cancelAnimationFrame(this.next);
    this.lib?.purge(this.plot);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const map = (parentElement.faceMap ??= new FaceMap(parentElement));
  map.tell = setTriggerValue;
  map.show(data);
  return () => {
    map.remove();
    delete parentElement.faceMap;
  };
}
