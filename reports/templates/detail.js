// The panel of one cell.
const detail = find("detail");

function drawDetail(cell, linkTo, close) {
  detail.hidden = !cell;
  if (!cell) return detail.replaceChildren();
  const parts = [verdictPart, boundPart, failurePart, expectationPart, comparisonPart, costPart, evidencePart, costsPart];
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
  if (cell.demanded) parts.push(make("p", {}, `Required, but not here: ${cell.demanded.join(", ")}`));
  if (cell.waived) {
    const { reason, url, reproducer } = cell.waived;
    parts.push(make("div", { class: "known" }, make("p", {}, `Known upstream fault: ${reason || ""}`),
      make("div", {}, url ? address(url) : ""), reproducer ? make("div", {}, "Reproducer: ", make("code", {}, reproducer)) : null));
  }
  return parts;
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

function failurePart(cell) {
  if (!cell.failure) return cell.missing ? titled("Not here", pairs([["missing", cell.missing]])) : [];
  const { phase, type, message } = cell.failure;
  return titled("What was raised", pairs([["phase", phase], ["type", type]]), make("pre", { tabindex: "0" }, message || "(no message)"));
}

function expectationPart(cell) {
  const { outcome, source, phase, type, message, missing } = cell.expectation;
  return titled("Expected", pairs([["outcome", outcome], ["source", source && address(source)], ["phase", phase], ["type", type],
    ["message matches", message && make("code", {}, message)], ["missing", missing]]));
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

function evidencePart(cell) {
  const seen = (name) => cell[`evidence.${name}`];
  const list = pairs([
    ["class", seen("model_class")], ["parameters that were not loaded", seen("missing_parameters")],
    ["unexpected parameters", seen("unexpected_parameters")], ["kernels that ran", cell.kernels], ["attention ops", seen("attention_ops")], ["calls of SDPA", seen("sdpa_calls")],
    ["calls of flex_attention", seen("flex_calls")], ["attn_implementation", seen("attn_implementations")],
    ["attention classes", seen("attention_classes")], ["linear classes", seen("linear_classes")],
    ["left unquantised", seen("unquantised_linear")], ["quantised formats", seen("quantised_formats")],
    ["quantised ops", seen("quantised_ops")], ["caches", seen("caches")], ["parameter dtypes", seen("parameter_dtypes")],
    ["foreign parameters", seen("foreign_parameters")], ["placement", seen("placement")],
    ["hf_device_map", seen("hf_device_map")], ["weight bytes", seen("weight_bytes")],
    ["warnings", seen("warnings")], ["left changed, and put back", seen("leaks")], ["declared by the class", cell.declared],
  ]);
  return list.children.length ? titled("Evidence: what really ran", list) : [];
}

function costsPart(cell) {
  const seconds = cell.seconds && Object.entries(cell.seconds).map(([phase, time]) => `${phase} ${number(time)} s`).join(", ");
  const memory = cell.peak_memory_mib === undefined ? undefined : `${number(cell.peak_memory_mib)} MiB`;
  return seconds || memory ? titled("Time and memory", pairs([["seconds", seconds], ["peak memory", memory], ["worker", cell.worker]])) : [];
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
