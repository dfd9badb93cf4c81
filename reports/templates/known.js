// What was measured, as the page brings it: what a question needs at once, what an answer does with the first one.
const known = JSON.parse(find("data").textContent);
const [SUPPORTED, MIXED, WRONG, REFUSED] = [0, 1, 2, 3];
const [, STATE_REFUSED, STATE_WRONG] = [0, 1, 2];
const types = known.types.map(([name, model, auto, family, kind, traits], place) =>
  ({ place, name, model, auto, family, kind, traits: new Set(traits) }));
const plain = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
const typesNamed = new Map();
for (const type of types) {
  for (const name of new Set([plain(type.name), plain(type.model)])) {
    typesNamed.set(name, [...(typesNamed.get(name) || []), type]);
  }
}
const unpacked = new Map();
let details = null;
let subjectsBySeries = null;

// What there is of each series, by type.
function bySeries() {
  if (subjectsBySeries) return subjectsBySeries;
  details = JSON.parse(find("details").textContent);
  subjectsBySeries = details.subjects.map((subjects) => {
    const byType = new Map();
    for (const subject of subjects) {
      if (!byType.has(subject[0])) byType.set(subject[0], []);
      byType.get(subject[0]).push(subject);
    }
    return byType;
  });
  return subjectsBySeries;
}

function outcomeOf(number, series, place) {
  if (!number) return null;
  const key = [series, place, number].join(" ");
  if (!unpacked.has(key)) {
    const [supported, refused, wrong, ...troubles] = details.values[number];
    const standing = wrong ? (supported ? MIXED : WRONG) : supported ? SUPPORTED : REFUSED;
    const runs = known.series[series].runs[place];
    unpacked.set(key, { supported, refused, wrong, standing, troubles: troubles.map((one) => troubleOf(details.values[one], runs)) });
  }
  return unpacked.get(key);
}

function troubleOf([state, verdict, cause, reason, fault, url, cell, run, count], runs) {
  const text = (number) => details.values[number] || "";
  return { state, verdict, cause, reason: text(reason), fault: text(fault), url: text(url), cell: text(cell), run: runs[run], count };
}

// All that is known of a type in a series: one for each backend, dtype and quantisation.
function subjectsOf(series, type) {
  return (bySeries()[series].get(type.place) || []).map(([, backend, dtype, quantisation, outcomes, spans]) => ({
    backend: details.values[backend],
    dtype: details.values[dtype],
    quantisation: details.values[quantisation],
    outcomes: details.values[outcomes].map((number, place) => outcomeOf(number, series, place)),
    spans: details.values[spans].map(([standing, first, last, begins]) => ({ standing, first, last, begins })),
  }));
}

function isMeasured(series, type) {
  return bySeries()[series].has(type.place);
}

// The newest release in which anything of a type was measured, or the newest before the one that is asked for.
function newestRelease(subjects, upTo = Infinity) {
  return Math.max(-1, ...subjects.flatMap(({ outcomes }) => outcomes.map((one, place) => (one && place <= upTo ? place : -1))));
}

function spanAt(subject, place) {
  return subject.spans.find(({ first, last }) => first <= place && place <= last);
}

function sinceWords(span, versions) {
  return `${span.begins ? "" : "≤ "}${versions[span.first]}`;
}
