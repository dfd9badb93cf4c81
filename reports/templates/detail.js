// The panel of one cell.
const detail = find("detail");

function drawDetail(cell, linkTo, close) {
  detail.hidden = !cell;
  if (!cell) return detail.replaceChildren();
  const parts = [verdictPart, diagnosisPart, pricePart, boundPart, dialPart, originPart, failurePart, expectationPart, comparisonPart, costPart, evidencePart, costsPart, architecturePart];
  detail.replaceChildren(
    make("button", { type: "button", class: "close", "aria-label": "Close the details", onclick: close }, "✕"),
    make("h2", { id: "detail-title", tabindex: "-1" }, cell.cell),
    ...parts.flatMap((part) => part(cell)),
    ...relatedPart(cell, linkTo),
    ...scriptPart(cell));
  detail.scrollTop = 0;
}

function titled(title, ...content) {
  return [make("h3", {}, title), ...content];
}

function pairs(entries) {
  const given = entries.filter(([, value]) => value !== undefined && value !== "");
  return make("dl", { class: "pairs" }, ...given.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, plain(value))]));
}

function plain(value) {
  if (value instanceof Node) return value;
  if (Array.isArray(value)) return value.length === 1 ? plain(value[0]) : make("ul", {}, ...value.map((part) => make("li", {}, plain(part))));
  if (typeof value === "object") {
    return make("ul", {}, ...Object.entries(value).map(([name, part]) =>
      make("li", {}, make("code", {}, name), ": ", Array.isArray(part) ? part.join(", ") : plain(part))));
  }
  return document.createTextNode(typeof value === "number" ? number(value) : String(value));
}

function verdictPart(cell) {
  const parts = [make("p", {}, badge(cell.index)), make("p", { class: "reason" }, cell.reason || "")];
  if (cell.first_verdict) parts.push(make("p", {}, `At first it was ${cell.first_verdict}.`));
  if (cell.first_observation) parts.push(firstPart(cell.first_observation));
  if (cell.demanded) parts.push(make("p", {}, `Required, but not here: ${cell.demanded.join(", ")}`));
  if (cell.waived) {
    const { reason, url, reproducer } = cell.waived;
    parts.push(make("div", { class: "known" }, make("p", {}, `Known upstream fault: ${reason || ""}`),
      make("div", {}, url ? address(url) : ""), reproducer ? make("div", {}, "Reproducer: ", make("code", {}, reproducer)) : null));
  }
  return parts;
}

// What was seen of a cell before it was measured again.
function firstPart(observation) {
  return make("details", {}, make("summary", {}, "What was seen at first"),
    make("p", {}, `It ${observation.ending.replaceAll("_", " ")}.`),
    ...failurePart(observation), ...comparisonPart(observation));
}

function boundPart(cell) {
  if (!cell.bounds) return [];
  const ratios = cell.bounds.map((bound) => (typeof bound.ratio === "number" ? bound.ratio : 0));
  const highest = ratios.reduce((one, other) => Math.max(one, other));
  const logarithmic = highest > 2;
  const decades = Math.ceil(Math.log10(highest)) + 1;
  const position = (ratio) => {
    if (typeof ratio !== "number") return 100;
    const share = logarithmic ? (Math.log10(Math.max(ratio, 0.1)) + 1) / decades : ratio / Math.max(1.25, 1.1 * highest);
    return Math.max(0.5, Math.min(100, 100 * share));
  };
  return titled(`Error against its bound${logarithmic ? " (logarithmic scale from 0.1)" : ""}`, ...cell.bounds.map((bound) => {
    const beyond = !(bound.ratio <= 1);
    return make("div", { class: "gauge" },
      make("div", {}, make("span", {}, bound.name),
        make("span", {}, `${number(bound.value)} of ${number(bound.allowed)} allowed, ratio `, make("b", {}, number(bound.ratio)), beyond ? " – exceeds" : "")),
      draw("svg", { "aria-hidden": "true" },
        draw("rect", { class: "track", width: "100%", height: 12 }),
        draw("rect", { class: beyond ? "beyond" : "within", y: 2, width: `${position(bound.ratio)}%`, height: 8 }),
        draw("rect", { class: "edge", x: `${position(1)}%`, width: 2, height: 12 })));
  }));
}

// Which dials explain wrong numbers, and where these begin.
function diagnosisPart(cell) {
  return cell.diagnosis ? titled("Diagnosis", make("ul", {}, ...cell.diagnosis.split("; ").map((said) => make("li", {}, said)))) : [];
}

// How far each dial of attention is off; those that are off first.
function dialPart(cell) {
  if (!cell.dials) return [];
  const ordered = [...cell.dials].sort((one, other) => Number(Boolean(other.off)) - Number(Boolean(one.off)));
  return titled("What attention computed, less what eager does", make("ul", {}, ...ordered.map(({ said, explains, off }) =>
    make("li", {}, off ? make("b", {}, said) : said, off ? `: explains ${explains} of the error` : ""))));
}

function failurePart(cell) {
  if (!cell.failure) return cell.missing ? titled("Not here", pairs([["missing", cell.missing]])) : [];
  const { phase, type, message, frames, module, module_class: kind, inputs, causes } = cell.failure;
  const running = kind && (module ? `${module} (${kind})` : kind);
  return titled("What was raised", pairs([["phase", phase], ["type", type], ["in", running], ["given", inputs]]),
    make("pre", { tabindex: "0" }, message || "(no message)"),
    ...(causes ? [make("p", { class: "note" }, "Caused by"), make("pre", { tabindex: "0" }, causes.join("\n"))] : []),
    ...(frames ? [make("p", { class: "note" }, "Innermost frames of the libraries, the last one last"), make("pre", { tabindex: "0" }, frames.join("\n"))] : []));
}

function originPart(cell) {
  const origin = cell.origin;
  if (!origin) return [];
  const named = origin.module ? `${origin.module} (${origin.kind})` : origin.kind;
  const what = origin.backwards ? "Where wrong gradients begin" : "Where wrong numbers begin";
  const range = origin.finite === false && (origin.eager_too
    ? "neither is eager attention in this dtype: it is the dtype's range, not the backend" : "eager attention in this dtype is finite there");
  return titled(what, pairs([
    [origin.brings ? "module" : "first seen in", make("code", {}, named)], ["run", origin.run],
    ["forward pass", origin.call || undefined], ["rows and tokens", origin.pattern], ["heads", origin.heads && origin.heads.join(", ")],
    ["error of its output", `${number(origin.candidate)}, of eager ${number(origin.baseline)}, allowed ${number(origin.allowed)}`],
    ["error of its inputs", origin.inputs_allowed ? `${number(origin.inputs)}, allowed ${number(origin.inputs_allowed)}` : undefined],
    ["not finite", range ? `largest value that went in: ${number(origin.largest_input)}; ${range}` : undefined],
  ]), ...stripOf(origin), ...mapOf(origin));
}

// A column for each module in the order of its pass: this cell's mean error above eager's, on a logarithmic scale.
function stripOf(origin) {
  const modules = origin.strip || [];
  if (modules.length < 2) return [];
  const sizes = modules.flatMap(({ candidate, baseline }) => [candidate, baseline]).filter((size) => size > 0);
  const lowest = Math.log10(sizes.reduce((one, other) => Math.min(one, other), Infinity));
  const highest = Math.log10(sizes.reduce((one, other) => Math.max(one, other), 0));
  const [width, height] = [1000, 140];
  const step = width / modules.length;
  const up = (size) => (size > 0 ? 6 + (height - 12) * (Math.log10(size) - lowest) / (highest - lowest || 1) : typeof size === "number" ? 0 : height);
  const bars = modules.flatMap(({ module, kind, candidate, baseline, ratio }, at) => {
    const begins = (module || "") === (origin.module || "") && kind === origin.kind;
    const title = draw("title", {}, `${module || "the model"} (${kind}): error ${number(candidate)}, of eager ${number(baseline)}, ratio ${number(ratio)}`);
    return [
      draw("rect", { class: begins ? "begins" : ratio > 1 || typeof ratio !== "number" ? "beyond" : "within", x: at * step + 0.1 * step, y: height - up(candidate), width: 0.8 * step, height: up(candidate) }, title),
      draw("rect", { class: "eager", x: at * step, y: height - up(baseline) - 1, width: step, height: 2 }),
    ];
  });
  const first = modules.findIndex(({ module, kind }) => (module || "") === (origin.module || "") && kind === origin.kind);
  return [
    make("p", { class: "note" }, `Mean error along the ${origin.backwards ? "backward" : "forward"} pass, module by module, logarithmic; the line is eager attention in the same dtype. Module ${first + 1} of ${modules.length} is where it begins.`),
    draw("svg", { class: "modules", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `Error of ${modules.length} modules; it begins in ${origin.module || origin.kind}` }, ...bars),
  ];
}

function mapOf(origin) {
  if (!origin.rows) return [];
  return [
    make("p", { class: "note" }, "Rows and positions of the logits: a dot is within bounds, a digit half orders of magnitude beyond, # not finite, a blank not judged."),
    make("pre", { class: "map", tabindex: "0", role: "img", "aria-label": `Map of the logits: ${origin.pattern}` }, origin.rows.join("\n")),
  ];
}

function expectationPart(cell) {
  const { outcome, source, phase, type, message, cause, missing } = cell.expectation;
  return titled("Expected", pairs([["outcome", outcome], ["source", source && address(source)], ["phase", phase], ["type", type],
    ["message matches", message && make("code", {}, message)], ["caused by", cause && make("code", {}, cause)], ["missing", missing]]));
}

function comparisonPart(cell) {
  if (!cell.comparisons) return [];
  return titled("Against the golden run", ...cell.comparisons.map((comparison) => {
    const wrong = [["finite", "not finite"], ["shape_matches", "another shape"], ["dtype_matches", "another dtype"]]
      .filter(([name]) => comparison[name] === false).map(([, words]) => words);
    const line = (name, key) => make("tr", {}, make("th", { scope: "row" }, name),
      ...["max", "mean"].map((kind) => make("td", { class: "number" }, number(comparison[`${key}_${kind}`]))));
    return make("div", {},
      make("p", {}, `${comparison.name}, ${number(comparison.positions)} positions${wrong.length ? ": " + wrong.join(", ") : ""}`),
      make("table", {},
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "error"), make("th", { scope: "col", class: "number" }, "max"), make("th", { scope: "col", class: "number" }, "mean"))),
        make("tbody", {}, line("this cell", "candidate"), line("eager, same dtype", "baseline"), line("rounding floor", "floor"))),
      ...Object.entries({ regret: comparison.regret_max, ...comparison.consequences })
        .filter(([, off]) => off !== undefined)
        .map(([name, off]) => make("p", { class: "note" }, `${name} is off by at most ${number(off)}`)));
  }));
}

function costPart(cell) {
  const cost = cell.quantisation_cost;
  if (!cost) return [];
  const agreement = typeof cost.top1_agreement === "number" ? `${number(100 * cost.top1_agreement)} %` : cost.top1_agreement;
  return titled("Cost of quantisation, against the unquantised model (reported, never gated)",
    pairs([["KL divergence, mean", cost.kl_mean], ["KL divergence, p99", cost.kl_p99], ["top-1 agreement", agreement]]));
}

// What it takes beside the same cell without its cache, its transformation or its quantisation.
function pricePart(cell) {
  if (!cell.price || !cell.price.said) return [];
  return titled("What it costs and gains (reported, never gated)",
    make("p", { class: "note" }, "Beside ", make("code", {}, cell.price.twin), ", in turns"),
    make("ul", {}, ...cell.price.said.map((line) => make("li", {}, line))));
}

function evidencePart(cell) {
  const seen = (name) => cell[`evidence.${name}`];
  const list = pairs([
    ["class", seen("model_class")], ["parameters that were not loaded", seen("missing_parameters")],
    ["unexpected parameters", seen("unexpected_parameters")], ["kernels that ran", cell.kernels], ["attention ops", seen("attention_ops")], ["calls of SDPA", seen("sdpa_calls")],
    ["calls of flex_attention", seen("flex_calls")], ["attn_implementation", seen("attn_implementations")],
    ["attention classes", seen("attention_classes")], ["linear classes", seen("linear_classes")],
    ["linear modules left unquantised", seen("unquantised_linear")],
    ["unquantised parameters, share of the bytes", shares(seen("unquantised_parameters"))], ["quantised formats", seen("quantised_formats")],
    ["quantised ops", seen("quantised_ops")], ["caches", seen("caches")], ["graphs of torch.compile", seen("graphs")], ["graph breaks", seen("graph_breaks")], ["compiled again", seen("recompiled")], ["parameter dtypes", seen("parameter_dtypes")],
    ["foreign parameters", seen("foreign_parameters")], ["placement", seen("placement")],
    ["hf_device_map", seen("hf_device_map")], ["weight bytes", seen("weight_bytes")],
    ["warnings", seen("warnings")], ["left changed, and put back", seen("leaks")],
    ["left on the GPU beside what torch knows of", mebibytes(seen("left_on_gpu_mib"))], ["declared by the class", cell.declared],
  ]);
  return list.children.length ? titled("Evidence: what really ran", list) : [];
}

function mebibytes(size) {
  return size === undefined ? undefined : `${number(size)} MiB`;
}

function shares(parts) {
  return parts && Object.entries(parts).map(([name, share]) => `${name} ${number(100 * share)} %`).join(", ");
}

function costsPart(cell) {
  const seconds = cell.seconds && Object.entries(cell.seconds).map(([phase, time]) => `${phase} ${number(time)} s`).join(", ");
  const memory = mebibytes(cell.peak_memory_mib);
  return seconds || memory ? titled("Time and memory", pairs([["seconds", seconds], ["peak memory", memory], ["worker", cell.worker]])) : [];
}

function architecturePart(cell) {
  const { kind, family, traits, model_type: type, auto_class: auto, weak, parameters } = factsOf(cell.index);
  const list = pairs([["kind", kind], ["family", family], ["traits", traits && traits.join(", ")], ["model_type", type],
    ["class", auto], ["parameters", parameters || undefined], ["a weak fixture", weak]]);
  return list.children.length ? titled("The architecture", list) : [];
}

function relatedPart(cell, linkTo) {
  const found = related(cell.index);
  if (!found.size) return [];
  const line = (axis, other) => {
    const worst = valueOf(other, "worst");
    return make("li", {}, linkTo(valueOf(other, "cell"), valueOf(other, axis)), " ", badge(other),
      worst === undefined ? null : make("small", {}, ` ratio ${number(worst)}`));
  };
  const inOrder = (axis, others) => others.sort((one, other) =>
    data.axes[axis].indexOf(valueOf(one, axis)) - data.axes[axis].indexOf(valueOf(other, axis)));
  return titled("Same but for one axis", make("dl", { class: "pairs related" }, ...Object.keys(data.axes)
    .filter((axis) => found.has(axis))
    .flatMap((axis) => [
      make("dt", {}, axis, make("small", {}, ` here ${cell[axis]}`)),
      make("dd", {}, make("ul", {}, ...inOrder(axis, found.get(axis)).map((other) => line(axis, other)))),
    ])));
}

function scriptPart(cell) {
  const command = data.command.split("{cell}").join(cell.cell);
  const script = scriptOf(cell);
  const parts = copied("Copy the command", command);
  if (script) {
    parts.push(make("p", { class: "note" }, "Or the script itself, which needs only torch and transformers, and what the cell names:"),
      ...copied("Copy the script", script));
  }
  return titled("Reproduce", ...parts);
}

function copied(label, text) {
  const code = make("pre", { tabindex: "0" }, text);
  const copy = make("button", { type: "button" }, label);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected: copy with the keyboard";
    }
  });
  return [copy, code];
}
