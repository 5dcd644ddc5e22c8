"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const graph = document.getElementById("graph");
  const frame = document.getElementById("frame");
  const what = document.getElementById("what");
  const drawn = [...graph.querySelectorAll(".b")]; // from top to bottom
  const boxes = [];
  for (const box of drawn) boxes[box.dataset.b] = box;
  const wires = new Map([...graph.querySelectorAll(".w")].map((w) => [Number(w.dataset.w), w]));
  const rows = [...document.querySelectorAll(".pick")];
  const size = graph.viewBox.baseVal;
  let scale = 1;
  let by = data.by;

  const quantity = (value) => {
    for (const [factor, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (value >= factor) return (value / factor).toFixed(1) + " " + unit;
    }
    return value + " ";
  };
  const percent = (part, total) => {
    if (!part || !total) return "0 %";
    const share = (100 * part) / total;
    if (share < 0.1) return "<0.1 %";
    return share >= 99.95 && share < 100 ? ">99.9 %" : share.toFixed(1) + " %";
  };

  // Texts are set as text, never as markup: names come from strangers' files.
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const tell = (box) => {
    const { label, names, more, reads, gives, costs } = data.boxes[box];
    const list = document.createElement("dl");
    const fact = (name, text) => list.append(element("dt", name), element("dd", text));
    fact(names.length + more > 1 ? "names" : "name", names.join(", ") + (more ? ` and ${more} more` : ""));
    if (reads.length) fact("reads", reads.join("; "));
    if (gives.length) fact("gives", gives.join("; "));
    for (const { name, words, total } of data.costs) {
      if (name in costs) fact(words, quantity(costs[name]) + (name === "macs" ? "" : "B") + `, ${percent(costs[name], total)}`);
    }
    what.replaceChildren(element("h3", label), list);
  };

  const colour = () => {
    const { total } = data.costs.find(({ name }) => name === by);
    boxes.forEach((box, i) => {
      const cost = data.boxes[i].costs[by] || 0;
      for (let level = 0; level < 6; level++) box.classList.remove("c" + level);
      box.classList.add("c" + data.steps.filter((step) => total && cost / total > step).length);
      if (data.boxes[i].kind === "node") box.querySelector(".p").textContent = cost ? percent(cost, total) : "";
    });
  };

  const zoom = (to) => {
    const middle = (frame.scrollTop + frame.clientHeight / 2) / (size.height * scale);
    const across = (frame.scrollLeft + frame.clientWidth / 2) / (size.width * scale);
    scale = Math.min(3, Math.max(0.02, to));
    graph.setAttribute("width", size.width * scale);
    graph.setAttribute("height", size.height * scale);
    frame.scrollTop = middle * size.height * scale - frame.clientHeight / 2;
    frame.scrollLeft = across * size.width * scale - frame.clientWidth / 2;
  };

  const before = (cut) => {
    const sources = data.boxes.map(() => []);
    data.wires.forEach((targets, box) => targets.forEach((target) => sources[target].push(box)));
    const found = new Set(cut.sends);
    const waiting = [...cut.sends];
    while (waiting.length) {
      for (const source of sources[waiting.pop()]) {
        if (!found.has(source)) waiting.push(source);
        found.add(source);
      }
    }
    return found;
  };
  const choose = (index) => {
    const again = rows[index].getAttribute("aria-selected") === "true";
    rows.forEach((row, i) => row.setAttribute("aria-selected", String(i === index && !again)));
    graph.classList.toggle("cutting", !again);
    const cut = again ? { sends: [], inside: [] } : data.cuts[index];
    const head = before(cut);
    boxes.forEach((box, i) => {
      box.classList.toggle("head", head.has(i) && !cut.inside.includes(i));
      box.classList.toggle("part", cut.inside.includes(i));
    });
    wires.forEach((wire, box) => wire.classList.toggle("sent", cut.sends.includes(box) && !cut.inside.includes(box)));
    if (again) return;
    frame.scrollIntoView({ block: "nearest" });
    if (cut.sends.length) show(Math.max(...cut.sends.map((i) => (data.boxes[i].kind === "input" ? 0 : i))));
  };
  const show = (box) => {
    const { e, f } = boxes[box].transform.baseVal.consolidate().matrix;
    frame.scrollTo(e * scale - frame.clientWidth / 2 + 75 * scale, f * scale - frame.clientHeight / 2);
  };

  graph.addEventListener("pointerover", ({ target }) => {
    const box = target.closest(".b");
    if (box) tell(Number(box.dataset.b));
  });
  graph.addEventListener("click", ({ target }) => {
    const box = target.closest(".b");
    if (box) tell(Number(box.dataset.b));
  });
  graph.addEventListener("focusin", ({ target }) => {
    if (target.dataset.b) tell(Number(target.dataset.b));
  });
  graph.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const next = step && drawn[drawn.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    document.activeElement.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  rows.forEach((row, index) => row.addEventListener("click", () => choose(index)));
  document.getElementById("by").addEventListener("change", ({ target }) => {
    by = target.value;
    colour();
  });
  document.getElementById("in").addEventListener("click", () => zoom(scale * 1.3));
  document.getElementById("out").addEventListener("click", () => zoom(scale / 1.3));
  document.getElementById("full").addEventListener("click", () => zoom(1));
  document.getElementById("fit").addEventListener("click", () => zoom(Math.min(1, frame.clientWidth / size.width)));
  if (size.width > frame.clientWidth) zoom(Math.max(0.75, frame.clientWidth / size.width));
  show(0);
  frame.scrollTop = 0;
})();
