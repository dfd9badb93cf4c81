// The front: a question (a type, a device, a release), its answer, and the notes of the tables.
const form = find("ask");
const LISTED = 3; // of a card; the table below has all
let given = null; // what a config.json said, for as long as its type is asked about
let variant = ""; // which of several architectures of one type

const markOf = (standing) => make("i", { "aria-hidden": "true" }, known.standings[standing][2]);
const lookOf = (standing) => `s s-${known.standings[standing][1]}`;
const spaced = (text) => text.replaceAll("_", "_\u200b");
const counted = (count, one, several = `${one}s`) => `${whole(count)} ${count === 1 ? one : several}`;

function drawForm() {
  form.on.replaceChildren(...known.series.map(({ label }, place) => make("option", { value: place }, label)));
  find("types").replaceChildren(...[...new Set(types.map(({ model }) => model))].map((model) => make("option", { value: model })));
  const examples = ["llama", "qwen3_moe", "gemma3", "bert", "t5"].filter((name) => typesNamed.has(plain(name))).slice(0, 4);
  find("examples").replaceChildren(...(examples.length ? ["For example "] : []), ...examples.flatMap((name, place) => [
    place ? ", " : "", make("a", { href: `#${new URLSearchParams({ type: name })}` }, name)]));
  drawReleases();
  form.hidden = false;
}

function drawReleases() {
  const { versions } = known.series[form.on.value];
  const before = form.version.value;
  form.version.replaceChildren(make("option", { value: "" }, "the newest measured"),
    ...[...versions].reverse().map((version) => make("option", { value: version }, version)));
  form.version.value = versions.includes(before) ? before : "";
}

// The address holds the question, so that a link leads others to the answer.
function remember() {
  const asked = { type: form.type.value.trim(), on: form.on.value === "0" ? "" : form.on.value, version: form.version.value, as: variant };
  const fragment = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  history.replaceState(null, "", asked.type ? `#${fragment}` : location.pathname + location.search);
}

function recall() {
  if (!location.hash.includes("type=")) return false;
  const asked = new URLSearchParams(location.hash.slice(1));
  form.type.value = (asked.get("type") || "").slice(0, 64);
  const places = [...known.series.keys()].map(String);
  form.on.value = places.includes(asked.get("on")) ? asked.get("on") : "0";
  drawReleases();
  const version = asked.get("version") || "";
  form.version.value = known.series[form.on.value].versions.includes(version) ? version : "";
  variant = asked.get("as") || "";
  given = null;
  return true;
}

function drawAnswer() {
  const series = Number(form.on.value);
  const asked = form.type.value.trim();
  find("examples").hidden = Boolean(asked);
  if (!asked) {
    find("answer").replaceChildren();
    return;
  }
  const named = typesNamed.get(plain(asked)) || [];
  const here = named.filter((type) => isMeasured(series, type));
  find("answer").replaceChildren(...(here.length ? answered(series, here) : unmeasured(series, asked, named)));
}

function chosen(here) {
  return here.find(({ name }) => name === variant) || (given && closestOf(here)) || here[0];
}

// Of several architectures of one type the one that a config is of.
function closestOf(here) {
  const score = ({ auto, traits }) => (given.auto && auto === given.auto ? 10 : 0)
    + ["alibi", "window", "moe"].filter((trait) => given.traits.has(trait) === traits.has(trait)).length
    + (given.traits.has("alibi") && traits.has("alibi") ? 3 : 0);
  return [...here].sort((one, other) => score(other) - score(one))[0];
}

function answered(series, here) {
  const { versions, device, label } = known.series[series];
  const type = chosen(here);
  const subjects = subjectsOf(series, type);
  const wanted = form.version.value ? versions.indexOf(form.version.value) : Infinity;
  let place = newestRelease(subjects, wanted);
  const lines = [];
  if (place < 0) place = Math.min(...subjects.flatMap(({ spans }) => spans.map(({ first }) => first)));
  if (wanted !== Infinity && place !== wanted) {
    lines.push(make("p", { class: "aside" }, `Not measured with ${versions[wanted]}: this is what ${versions[place]} came to.`));
  }
  const format = formatOf(subjects, place, given?.quantised || "none");
  const unknown = given?.quantised && given.quantised !== format;
  if (unknown) {
    lines.push(make("p", { class: "aside" },
      `No run with this release has it quantised with ${given.quantised}: what follows is of unquantised weights.`));
  }
  const best = unknown ? null : spelling(type, subjects, place, versions[place], given?.dtype, format);
  return [
    make("p", { class: "kicker" }, `${label}, transformers ${versions[place]}`),
    make("h2", { id: "answer-title", tabindex: "-1" }, type.model, make("small", {}, [type.auto, type.family, ...type.traits].filter(Boolean).join(" · "))),
    ...variants(here, type),
    ...ofConfig(type),
    ...lines,
    make("p", { class: "summary" }, ...summary(subjects, place, format)),
    best ? make("p", { class: "write" }, make("code", {}, best.code), make("small", {},
      `right in ${best.cells === 1 ? "the cell" : `all ${counted(best.cells, "cell")}`} that ${best.cells === 1 ? "was" : "were"} judged`)) : null,
    make("div", { class: "cards" },
      ...worksCard(subjects, place, versions),
      ...troubleCard("Wrong", WRONG, STATE_WRONG, subjects, place, versions),
      ...troubleCard("Refused", REFUSED, STATE_REFUSED, subjects, place, versions)),
    make("h3", { id: "measured-here" }, `All that was measured of it on ${device}`),
    make("p", { class: "note" }, "A click opens an entry: its course through the releases, the words that came, and cells that show it."),
    ...everything(subjects, place, versions),
  ].filter(Boolean);
}

function variants(here, type) {
  if (here.length < 2) return [];
  const links = here.map((one) => {
    const link = make("a", { href: "#answer-title", class: "chip", "data-as": one.name }, one.name);
    if (one === type) link.setAttribute("aria-current", "true");
    return link;
  });
  return [make("p", { class: "chips" }, ...links)];
}

function ofConfig(type) {
  if (!given) return [];
  const said = [
    given.saved && `saved by transformers ${given.saved}`,
    given.dtype && `in ${given.dtype}`,
    given.quantised && `quantised with ${given.quantised}`,
    given.traits.size && `with ${[...given.traits].join(", ")}`,
  ].filter(Boolean);
  const lacking = type ? [...given.traits].filter((trait) => !type.traits.has(trait)) : [];
  const apart = type && type.traits.size && lacking.length ? ` What was measured has no ${lacking.join(", ")}.` : "";
  return [make("p", { class: "aside" }, `Its config.json: ${[given.model, ...said].join(", ")}.${apart}`)];
}

function summary(subjects, place, format) {
  const how = format === "none" ? "" : `Quantised with ${format}: `;
  const parts = summaryOf(subjects, place, format).flatMap(([words, backends], number) => {
    const start = number ? "; " : "";
    return [`${start}${number || how ? words : words[0].toUpperCase() + words.slice(1)} `,
      ...backends.flatMap((backend, at) => [at ? (at === backends.length - 1 ? " and " : ", ") : "", make("code", {}, spaced(backend))])];
  });
  return parts.length ? [how, ...parts, "."] : [`Nothing of it was measured ${how ? `with ${format}` : "unquantised"} with this release.`];
}

function worksCard(subjects, place, versions) {
  const lines = [...working(subjects, place)].sort(([one], [other]) => rankOf(one) - rankOf(other)).map(([backend, { dtypes, formats, spans }]) =>
    make("li", {}, make("code", {}, spaced(backend)), " ",
      known.dtypes.filter((dtype) => dtypes.has(dtype)).join(", "),
      make("small", {}, [spans.length ? sinceAll(spans, versions) : "", formats.size ? `quantised: ${[...formats].join(", ")}` : ""].filter(Boolean).join(" · "))));
  return lines.length ? [card("Works", SUPPORTED, lines)] : [];
}

function sinceAll(spans, versions) {
  const latest = spans.reduce((one, other) => (other.first > one.first ? other : one));
  return `${spans.every(({ first }) => first === latest.first) ? "since" : "all since"} ${sinceWords(latest, versions)}`;
}

function card(title, standing, lines) {
  const rest = lines.slice(LISTED);
  return make("section", { class: `card ${lookOf(standing)}`, "aria-label": title },
    make("h3", {}, markOf(standing), title),
    make("ul", {}, ...lines.slice(0, LISTED)),
    rest.length ? make("details", {}, make("summary", {}, `${rest.length} more`), make("ul", {}, ...rest)) : null);
}

function troubleCard(title, standing, state, subjects, place, versions) {
  const lines = troubled(subjects, place, state).map((trouble) => {
    const instead = insteadOf(subjects, place, trouble.subjects[0]);
    const what = state === STATE_WRONG ? `${known.verdicts[trouble.verdict]}, ` : "";
    return make("li", {},
      ...[...trouble.where].slice(0, 4).flatMap(([backend, { dtypes, formats }], at) => [at ? ", " : "", make("code", {}, spaced(backend)),
        ` ${[...dtypes].join(", ")}${formats.size ? `${dtypes.size ? " and " : ""}${[...formats].join(", ")}` : ""}`]),
      trouble.where.size > 4 ? ` and ${trouble.where.size - 4} more` : "",
      ...words(trouble),
      make("small", {}, `${what}${counted(trouble.count, "cell")}, ${sinceAll(trouble.subjects.map((one) => spanAt(one, place)), versions)}`,
        instead ? ` · instead: ${instead}` : ""));
  });
  return lines.length ? [card(title, standing, lines)] : [];
}

// What came, the upstream fault that is known of it, and the cell that is shortest to reproduce.
function words(trouble) {
  return [
    make("span", { class: "said" }, trouble.reason),
    trouble.fault || trouble.url ? make("span", { class: "fault" }, `Known: ${trouble.fault} `, referenceTo(trouble.url)) : null,
    trouble.run ? make("span", { class: "shows" }, cellLink(trouble)) : null,
  ];
}

// An issue by its repository and number.
function referenceTo(url) {
  const link = address(url);
  const issue = /^https:\/\/github\.com\/([\w.-]+\/[\w.-]+)\/(?:issues|pull|discussions)\/(\d+)$/.exec(url);
  if (issue) link.textContent = `${issue[1]}#${issue[2]}`;
  return link;
}

function cellLink({ run, cell }) {
  return make("a", { class: "cell", href: `runs/${encodeURIComponent(run)}.html#cell=${encodeURIComponent(cell)}` }, cell);
}

// By quantisation and backend, dtype by dtype.
function everything(subjects, place, versions) {
  const formats = [...new Set(subjects.map(({ quantisation }) => quantisation))];
  const dtypes = known.dtypes.filter((dtype) => subjects.some((one) => one.dtype === dtype));
  const order = known.series[Number(form.on.value)].backends;
  const table = make("table", { class: "grid entries" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "backend"), ...dtypes.map((dtype) => make("th", { scope: "col" }, dtype)))),
    ...formats.map((format) => {
      const here = subjects.filter(({ quantisation }) => quantisation === format);
      const backends = order.filter((backend) => here.some((one) => one.backend === backend));
      return make("tbody", {},
        make("tr", {}, make("th", { scope: "rowgroup", colspan: dtypes.length + 1, class: "format" }, format === "none" ? "Unquantised" : format)),
        ...backends.map((backend) => make("tr", {}, make("th", { scope: "row" }, spaced(backend)),
          ...dtypes.map((dtype) => entry(here.find((one) => one.backend === backend && one.dtype === dtype), subjects, place, versions)))));
    }));
  return [make("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "measured-here" }, table)];
}

function entry(subject, subjects, place, versions) {
  if (!subject) return make("td", {});
  const outcome = subject.outcomes[place];
  const button = make("button", { type: "button", "aria-expanded": "false", onclick: () => toggle(button, () => noteOf(subject, subjects, place, versions)) });
  if (outcome) {
    button.append(markOf(outcome.standing), make("span", { class: "unseen" }, `${known.standings[outcome.standing][0]} since `),
      sinceWords(spanAt(subject, place), versions), make("small", {}, countWords(outcome)));
  } else {
    const last = subject.spans.at(-1);
    button.append(make("small", {}, `${known.standings[last.standing][0]} in ${versions[last.last]}`));
  }
  return make("td", { class: outcome ? lookOf(outcome.standing) : "unmeasured" }, button, strip(subject, versions));
}

function countWords({ supported, refused, wrong }) {
  const all = supported + refused + wrong;
  if (supported === all) return counted(all, "cell");
  const parts = [supported && `${whole(supported)} right`, wrong && `${whole(wrong)} wrong`, refused && `${whole(refused)} refused`];
  return parts.filter(Boolean).join(", ");
}

function strip({ spans }, versions) {
  if (versions.length < 3) return null;
  return draw("svg", { class: "span", viewBox: `0 0 ${versions.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...spans.map(({ standing, first, last }) => draw("rect", { class: `s-${known.standings[standing][1]}`, x: first, width: last - first + 1, height: 1 })));
}

// Opens and closes a line below the one that the control stands in.
function toggle(control, content) {
  const row = control.closest("tr");
  const was = control.getAttribute("aria-expanded") === "true";
  if (row.nextElementSibling?.classList.contains("noted")) row.nextElementSibling.remove();
  for (const other of row.querySelectorAll("[aria-expanded=true]")) other.setAttribute("aria-expanded", "false");
  if (was) return;
  control.setAttribute("aria-expanded", "true");
  row.after(make("tr", { class: "noted" }, make("td", { colspan: row.cells.length }, make("div", { class: "note-body" }, ...content()))));
}

function noteOf(subject, subjects, place, versions) {
  const heading = `${subject.backend}, ${subject.dtype}${subject.quantisation === "none" ? "" : `, ${subject.quantisation}`}`;
  const standing = subject.outcomes[place]?.standing;
  const instead = standing === undefined || standing === SUPPORTED ? "" : insteadOf(subjects, place, subject);
  return [
    make("h4", {}, heading),
    make("ol", { class: "course" }, ...[...subject.spans].reverse().map((span) => make("li", {},
      make("b", { class: lookOf(span.standing) }, markOf(span.standing), known.standings[span.standing][0]),
      ` ${spanWords(span, versions)}: ${countWords(subject.outcomes[span.last])}`,
      ...subject.outcomes[span.last].troubles.flatMap(words)))),
    instead ? make("p", {}, `Instead: ${instead}.`) : null,
  ].filter(Boolean);
}

function spanWords(span, versions) {
  if (span.last === versions.length - 1) return `since ${sinceWords(span, versions)}`;
  return span.first === span.last ? `in ${versions[span.first]}` : `in ${versions[span.first]} to ${versions[span.last]}`;
}

function unmeasured(series, asked, named) {
  const { label, device } = known.series[series];
  const elsewhere = known.series.map((one, place) => ({ ...one, place })).filter(({ place }) => named.some((type) => isMeasured(place, type)));
  const close = nearest(series, given?.model === asked ? given : named[0] || { model: asked });
  const say = [make("p", { class: "kicker" }, label),
    make("h2", { id: "answer-title", tabindex: "-1" }, asked, make("small", {}, "never measured here")),
    ...ofConfig(null),
    make("p", { class: "summary" }, elsewhere.length
      ? `No run on ${device} has this type. It was measured on ${elsewhere.map((one) => one.label).join(", and on ")}.`
      : "No published run has this type, so nothing is claimed of it.")];
  if (elsewhere.length) {
    say.push(make("p", { class: "chips" }, ...elsewhere.map((one) =>
      make("a", { class: "chip", href: `#${new URLSearchParams({ type: asked, on: one.place })}` }, `See it on ${one.label}`))));
  }
  if (close.length) {
    say.push(make("h3", {}, "The nearest that were measured"), make("ul", { class: "near" }, ...close.map(({ type, why }) => make("li", {},
      make("a", { href: `#${new URLSearchParams({ type: type.model, on: series, as: type.name })}` }, type.name), make("small", {}, why.join(", "))))));
  } else if (!given) {
    say.push(make("p", { class: "aside" }, "Open its config.json, and what comes nearest by family and traits is named."));
  }
  if (!elsewhere.length) {
    say.push(make("p", { class: "aside" }, "To measure it on your machine: ",
      make("code", {}, "python -m pytest -n auto --checkpoint=FOLDER")));
  }
  return say;
}

function take(text) {
  const config = readConfig(text);
  if (config.problem) {
    given = null;
    find("answer").replaceChildren(make("p", { class: "aside problem" }, config.problem));
    return;
  }
  given = config;
  variant = "";
  form.type.value = config.model;
  remember();
  drawAnswer();
  find("answer-title").focus({ preventScroll: true });
}

async function openFile(file) {
  if (!file) return;
  find("answer").replaceChildren();
  take(file.size > LARGEST_CONFIG ? " ".repeat(LARGEST_CONFIG + 1) : await file.text());
}

function listen() {
  form.addEventListener("input", ({ target }) => {
    if (target === form.on) drawReleases();
    if (target === form.type) {
      given = null;
      variant = "";
    }
    if (target.id === "file") return;
    remember();
    drawAnswer();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find("answer-title")?.focus();
  });
  find("choose").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", ({ target }) => {
    openFile(target.files[0]);
    target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") || "";
    if (!text.trimStart().startsWith("{")) return;
    event.preventDefault();
    take(text);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  document.addEventListener("dragleave", () => form.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    openFile(event.dataTransfer?.files[0]);
  });
  find("answer").addEventListener("click", (event) => {
    const link = event.target.closest("a[data-as]");
    if (!link) return;
    event.preventDefault();
    variant = link.dataset.as;
    remember();
    drawAnswer();
    find("answer-title").focus({ preventScroll: true });
  });
  addEventListener("popstate", () => {
    if (!recall()) return;
    drawAnswer();
    form.scrollIntoView();
  });
  // One listener for thousands of entries; a note is made when it is asked for.
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target.closest?.("table.grid[data-series] td.s a");
    if (!link) return;
    event.preventDefault();
    turnNote(link);
  });
}

function turnNote(link) {
  const table = link.closest("table");
  const series = Number(table.dataset.series);
  const name = link.closest("tr").cells[0].textContent;
  const backend = table.tHead.rows[0].cells[link.closest("td").cellIndex].textContent.replaceAll("\u200b", "");
  const type = types.find((one) => one.name === name);
  if (!type) return;
  const { versions } = known.series[series];
  const all = subjectsOf(series, type);
  toggle(link, () => [
    ...all.filter((one) => one.backend === backend && one.quantisation === "none")
      .flatMap((one) => noteOf(one, all, one.spans.at(-1).last, versions)),
    make("p", {}, make("a", { href: `#${new URLSearchParams({ type: type.model, on: series, as: type.name })}` }, `All of ${name}`)),
  ]);
}

if (form && known.series.length) {
  drawForm();
  listen();
  if (recall()) drawAnswer();
}
