"use strict";
// Everything a model wrote goes to the page as text, never as markup.
const COLOURS = ["#d1495b", "#00798c", "#edae49", "#66a182", "#6a4c93", "#f4713f", "#2e86de", "#8d96a3"];
const NAMES = { base: "Base", sft: "SFT", rft: "RFT" };
const at = (id) => document.getElementById(id);
let image = null;
let address = "";

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function say(text, bad) {
  at("state").textContent = text;
  at("state").className = bad ? "bad" : "";
}

function take(file) {
  if (!file || !file.type.startsWith("image/")) {
    say("This is no image.", true);
    return;
  }
  if (address) URL.revokeObjectURL(address);
  image = file;
  address = URL.createObjectURL(file);
  at("chosen").textContent = at("file").files[0] === file ? "" : file.name; // the field shows its own
  at("ask").disabled = false;
  at("models").replaceChildren();
  say("");
}

function boxes(marks, width, height, colours) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const mark of marks.filter((one) => one.box)) {
    const [x1, y1, x2, y2] = mark.box;
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: x1, y: y1, width: Math.max(x2 - x1, 1), height: Math.max(y2 - y1, 1) }))
      rect.setAttribute(name, value);
    rect.setAttribute("stroke", colours.get(mark.label));
    svg.append(rect);
  }
  return svg;
}

function show(models, width, height) {
  const labels = new Set(models.flatMap((model) => model.answers.flatMap((one) => one.marks.map((mark) => mark.label))));
  const colours = new Map([...labels].map((label, i) => [label, COLOURS[i % COLOURS.length]]));
  at("models").replaceChildren();
  for (const model of models) {
    const section = element("section", undefined, at("models"));
    element("h2", NAMES[model.name] || model.name, section);
    const shown = element("div", undefined, section);
    shown.className = "shown";
    const picture = element("img", undefined, shown);
    picture.src = address;
    const marks = model.answers.flatMap((one) => one.marks);
    picture.alt = `${marks.length} answers of ${NAMES[model.name] || model.name}`;
    shown.append(boxes(marks, width, height, colours));
    const list = element("dl", undefined, section);
    for (const one of model.answers) {
      element("dt", one.asked || "Answer", list);
      const said = element("dd", undefined, list);
      if (!one.marks.length) element("div", "nothing found", said);
      for (const mark of one.marks) {
        const score = mark.score === null ? "" : `, score ${Math.round(100 * mark.score)} %`;
        const place = mark.box ? ` at ${mark.box.map((value) => Math.round(value)).join(", ")}` : "";
        const line = element("div", `${mark.label}${score}${place}`, said);
        line.className = "mark";
        line.style.borderColor = colours.get(mark.label);
      }
      element("pre", one.completion, said);
    }
  }
}

async function ask(event) {
  event.preventDefault();
  if (!image) return;
  at("ask").disabled = true;
  say("Asking; the first question loads the models …");
  try {
    const query = new URLSearchParams();
    for (const name of at("categories").value.split(",")) if (name.trim()) query.append("category", name.trim());
    const bitmap = await createImageBitmap(image);
    const response = await fetch(`/ask?${query}`, { method: "POST", headers: { "Content-Type": image.type }, body: image });
    const found = await response.json().catch(() => ({ error: "The server failed; its terminal says why." }));
    if (!response.ok) throw new Error(found.error);
    show(found.models, bitmap.width, bitmap.height);
    say("");
  } catch (error) {
    say(error.message || "The server does not answer.", true);
  }
  at("ask").disabled = false;
}

at("form").addEventListener("submit", ask);
at("file").addEventListener("change", (event) => take(event.target.files[0]));
const drop = at("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
fetch("/about").then((response) => response.json()).then((about) => {
  at("cell").textContent = about.cell;
  document.title = `vrft: ${about.cell}`;
  at("about").textContent = `Models: ${about.models.map((name) => NAMES[name]).join(", ")}. A score ranks a model's boxes; the confidence in its answer is the model's own word. The image stays on this machine.`;
  at("categories").placeholder = about.categories.join(", ");
});
