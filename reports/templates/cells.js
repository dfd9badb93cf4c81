// The cells of the report. Of ten thousand few are looked at: one becomes an object when it is, and what only its panel
// shows is not even read before the first is opened.
const data = JSON.parse(find("data").textContent);
const verdicts = new Map(data.verdicts.map(([name, symbol, meaning]) => [name, { symbol, meaning }]));
const fieldOf = new Map(data.fields.map((name, field) => [name, field]));
const total = data.rows.length;
const indexOf = new Map(data.rows.map((row, index) => [data.values[row[fieldOf.get("cell")]], index]));
const cells = new Array(total);
let searched = null;
let details = null;
let scripts = null;

// The number of a cell's value, which is the same where the value is; 0 if it has none.
function numberOf(index, name) {
  const field = fieldOf.get(name);
  return field === undefined ? 0 : data.rows[index][field];
}

function valueOf(index, name) {
  return data.values[numberOf(index, name)] ?? undefined;
}

// An object is packed as the number of its names, from 1, and its values; a list as 0 and its parts.
function unpacked(value) {
  if (!Array.isArray(value)) return value;
  const [shape, ...parts] = value;
  const whole = parts.map(unpacked);
  return shape ? Object.fromEntries(details.shapes[shape - 1].map((name, at) => [name, whole[at]])) : whole;
}

function cellAt(index) {
  if (!cells[index]) {
    details ||= JSON.parse(find("details").textContent);
    const cell = { index };
    data.rows[index].forEach((value, field) => {
      if (value) cell[data.fields[field]] = data.values[value];
    });
    details.rows[index].forEach((value, field) => {
      if (value) cell[details.fields[field]] = unpacked(details.values[value]);
    });
    cells[index] = cell;
  }
  return cells[index];
}

// A verdict, or the same excused by a waiver.
const kindNames = [...verdicts.keys()].flatMap((verdict) => [{ verdict, known: "" }, { verdict, known: ", known" }]);
const verdictPlace = new Map([...verdicts.keys()].map((verdict, place) => [verdict, place]));
const kindOf = Uint8Array.from(data.rows, (_, index) =>
  2 * verdictPlace.get(valueOf(index, "verdict")) + (numberOf(index, "waived") ? 1 : 0));

function textOf(index) {
  searched ||= data.rows.map((_, each) =>
    [valueOf(each, "cell"), valueOf(each, "reason"), valueOf(each, "family"), ...(valueOf(each, "kernels") || [])].join(" ").toLowerCase());
  return searched[index];
}

const VERDICTS = new Map([
  ["", () => true],
  ["failing", (index) => numberOf(index, "fails") > 0],
  ["known", (index) => numberOf(index, "waived") > 0],
]);

// The cells that a view lets through, by their place in the report.
function matching(view) {
  const terms = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = Object.keys(data.axes).filter((axis) => view[axis])
    .map((axis) => [fieldOf.get(axis), data.values.indexOf(view[axis])]);
  const architecture = fieldOf.get("architecture");
  const withTrait = view.trait && new Set(Object.keys(data.architectures)
    .filter((name) => data.architectures[name].traits?.includes(view.trait)).map((name) => data.values.indexOf(name)));
  const judged = VERDICTS.get(view.verdict) || ((index) => valueOf(index, "verdict") === view.verdict);
  const found = [];
  for (let index = 0; index < total; index++) {
    const row = data.rows[index];
    if (wanted.every(([field, value]) => row[field] === value) && judged(index)
      && (!withTrait || withTrait.has(row[architecture]))
      && (!terms.length || terms.every((term) => textOf(index).includes(term)))) found.push(index);
  }
  return found;
}

// Axes whose value follows from those of others.
const FOLLOWING = new Set(["backend", "family"]);

// By axis, the cells that differ from this one in it and in nothing else.
function related(index) {
  const axes = Object.keys(data.axes).filter((axis) => !FOLLOWING.has(axis));
  const found = new Map();
  for (let other = 0; other < total; other++) {
    const apart = axes.filter((axis) => numberOf(other, axis) !== numberOf(index, axis));
    if (apart.length === 1) found.set(apart[0], [...(found.get(apart[0]) || []), other]);
  }
  return found;
}

function severity(index) {
  const ratio = valueOf(index, "worst");
  if (ratio === undefined) return -1;
  return typeof ratio === "number" ? ratio : Number.MAX_VALUE;
}

// A script is a shape and what fills its holes; text 0 is the cell's id.
function scriptOf(cell) {
  scripts ||= JSON.parse(find("scripts").textContent);
  const [shape, ...holes] = scripts.scripts[cell.index];
  if (shape === undefined) return "";
  const text = (number) => (number ? scripts.texts[number] : cell.cell);
  return scripts.shapes[shape].map((number) => text(number < 0 ? holes.shift() : number)).join("");
}

function badge(index) {
  const { verdict, known } = kindNames[kindOf[index]];
  const { symbol, meaning } = verdicts.get(verdict);
  return make("span", { class: `badge v-${verdict}`, title: meaning }, icon(symbol), verdict + known);
}
