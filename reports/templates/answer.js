// What is said of a type: which backends work, what is wrong, what is refused, what to use instead, what is nearest.
const PREFERRED = ["sdpa", "flash_attention_2", "flex_attention", "eager"];
const isPinned = (backend) => backend.endsWith(")");
const isPlain = (backend) => PREFERRED.includes(backend) || backend.startsWith("flash_attention");

// What most people use first, then what is pinned.
function rankOf(backend) {
  return PREFERRED.includes(backend) ? PREFERRED.indexOf(backend) : PREFERRED.length + (isPinned(backend) ? 1 : 0);
}

// The backends that are right with this dtype and quantisation, those that most people use first.
function rightBeside(subjects, place, { dtype, quantisation }) {
  const right = subjects.filter((one) => one.quantisation === quantisation && isPlain(one.backend)
    && one.outcomes[place]?.standing === SUPPORTED);
  const sorted = right.sort((one, other) => rankOf(one.backend) - rankOf(other.backend));
  return { same: sorted.filter((one) => one.dtype === dtype), other: sorted.filter((one) => one.dtype !== dtype) };
}

function insteadOf(subjects, place, subject) {
  const { same, other } = rightBeside(subjects, place, subject);
  const names = [...new Set(same.map(({ backend }) => backend))].filter((backend) => backend !== subject.backend);
  const how = subject.quantisation === "none" ? "" : ` with ${subject.quantisation}`;
  if (names.length) return `${names.slice(0, 3).join(", ")} in ${subject.dtype}${how}`;
  return other.length ? `${other[0].backend} in ${other[0].dtype}${how}` : "";
}

// By backend, what works with which dtypes and formats.
function working(subjects, place) {
  const found = new Map();
  for (const subject of subjects) {
    const outcome = subject.outcomes[place];
    if (!outcome || outcome.standing !== SUPPORTED) continue;
    if (!found.has(subject.backend)) found.set(subject.backend, { dtypes: new Set(), formats: new Set(), spans: [] });
    const entry = found.get(subject.backend);
    noteWhere(entry, subject);
    if (subject.quantisation === "none") entry.spans.push(spanAt(subject, place));
  }
  return found;
}

function noteWhere({ dtypes, formats }, { dtype, quantisation }) {
  if (quantisation === "none") dtypes.add(dtype);
  else formats.add(quantisation);
}

// What is wrong, or refused, gathered by cause.
function troubled(subjects, place, state) {
  const found = new Map();
  for (const subject of subjects) {
    for (const trouble of subject.outcomes[place]?.troubles || []) {
      if (trouble.state !== state) continue;
      // What is known upstream is one fault, whatever its words.
      const key = [trouble.verdict, trouble.url || trouble.cause].join(" ");
      if (!found.has(key)) found.set(key, { ...trouble, count: 0, where: new Map(), subjects: [] });
      const entry = found.get(key);
      entry.count += trouble.count;
      entry.subjects.push(subject);
      if (!entry.where.has(subject.backend)) entry.where.set(subject.backend, { dtypes: new Set(), formats: new Set() });
      noteWhere(entry.where.get(subject.backend), subject);
      if (trouble.cell.length < entry.cell.length) Object.assign(entry, { cell: trouble.cell, run: trouble.run, reason: trouble.reason });
    }
  }
  const pinned = ({ where }) => [...where.keys()].every(isPinned);
  return [...found.values()].sort((one, other) => pinned(one) - pinned(other) || other.count - one.count);
}

// The format that a question is of: the one of its config.json, where that was measured.
function formatOf(subjects, place, quantised) {
  return subjects.some((one) => one.quantisation === quantised && one.outcomes[place]) ? quantised : "none";
}

// Of all that runs in one format and without a pinned kernel, in a sentence.
function summaryOf(subjects, place, format) {
  const gravest = new Map();
  for (const { backend, quantisation, outcomes } of subjects) {
    const outcome = outcomes[place];
    if (!outcome || quantisation !== format || !isPlain(backend)) continue;
    const before = gravest.get(backend) || { supported: 0, refused: 0, wrong: 0 };
    for (const what of ["supported", "refused", "wrong"]) before[what] += outcome[what];
    gravest.set(backend, before);
  }
  const ranked = [...gravest].sort(([one], [other]) => rankOf(one) - rankOf(other));
  const named = (wanted) => ranked.filter(([, counts]) => wanted(counts)).map(([backend]) => backend);
  return [
    ["works with", named(({ supported, wrong }) => supported && !wrong)],
    ["wrong in part with", named(({ supported, wrong }) => supported && wrong)],
    ["wrong with", named(({ supported, wrong }) => !supported && wrong)],
    ["refused with", named(({ supported, wrong }) => !supported && !wrong)],
  ].filter(([, backends]) => backends.length);
}

// The line to write, in the spelling of that release: what a checkpoint is quantised with stands in its config.json.
function spelling(type, subjects, place, version, wanted, format) {
  const order = [...new Set([wanted, "bfloat16", "float16", "float32"].filter(Boolean))];
  for (const dtype of order) {
    const { same } = rightBeside(subjects, place, { dtype, quantisation: format });
    const best = same.find(({ outcomes }) => !outcomes[place].refused) || same[0];
    if (!best) continue;
    const name = Number(version.split(".")[0]) >= 5 ? "dtype" : "torch_dtype";
    return { cells: best.outcomes[place].supported, best,
      code: `${/^AutoModel\w*$/.test(type.auto) ? type.auto : "AutoModel"}.from_pretrained(…, ${name}=torch.${dtype}, attn_implementation="${best.backend}")` };
  }
  return null;
}

function commonStart(one, other) {
  let length = 0;
  while (length < Math.min(one.length, other.length) && one[length] === other[length]) length += 1;
  return length;
}

// The types of a series that come closest: of the same family and traits where these are known, else by name.
function nearest(series, { model, family = "", traits = null, auto = "" }) {
  const name = plain(model);
  const scored = types.filter((type) => isMeasured(series, type)).map((type) => {
    const alike = commonStart(name, plain(type.model));
    const shared = traits ? [...traits].filter((trait) => type.traits.has(trait)) : [];
    const all = traits ? new Set([...traits, ...type.traits]).size : 0;
    const sameFamily = Boolean(family) && type.family === family;
    const score = (sameFamily ? 3 : 0) + (all ? 2 * shared.length / all : 0) + (alike >= 3 ? 4 * alike / Math.max(name.length, plain(type.model).length) : 0)
      + (auto && type.auto === auto ? 0.5 : 0);
    const why = [sameFamily ? family : "", ...shared, alike >= 3 ? "a name that begins alike" : ""].filter(Boolean);
    return { type, score, why };
  });
  return scored.filter(({ score, why }) => score >= 1 && why.length).sort((one, other) => other.score - one.score).slice(0, 3);
}
