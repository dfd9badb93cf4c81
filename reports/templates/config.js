// A config.json from anywhere: a few fields of it, each held against what it may be; the rest is never looked at.
const LARGEST_CONFIG = 2 ** 20;
const MOST_FIELDS = 20000;
const MODEL_TYPE = /^[a-z0-9][a-z0-9_.-]{0,63}$/i;
const QUANT_METHOD = /^[a-z0-9][a-z0-9_.-]{0,31}$/i;
const CLASS_NAME = /^[A-Za-z0-9_]{1,100}$/;
const RELEASE = /^\d{1,4}(\.\d{1,4}){1,3}[a-z0-9.+]{0,12}$/;
const DTYPES = new Set(known.dtypes);
// What the class of a checkpoint says of how it is loaded, and of what family it is.
const HEADS = [
  [/ForCausalLM$|LMHeadModel$/, "AutoModelForCausalLM", "text decoder"],
  [/ForMaskedLM$/, "AutoModelForMaskedLM", "text encoder"],
  [/ForImageClassification$/, "AutoModelForImageClassification", "image"],
  [/ForCTC$/, "AutoModelForCTC", "speech"],
  [/ForSpeechSeq2Seq$/, "AutoModelForSpeechSeq2Seq", "speech"],
];
// The traits that a config shows, as the suite reads them off the library.
const TRAITS = {
  window: /^(sliding_window|attention_window|local_attention|sliding_window_size|window_size)$/,
  chunk: /^attention_chunk_size$/,
  alibi: /^alibi$/,
  softcap: /softcap|logit_cap/,
  shared_kv: /^num_kv_shared_layers$/,
  mrope: /^mrope_section$/,
  moe: /^(num_(local_)?experts|n_routed_experts|moe_num_experts)$/,
  mla: /^kv_lora_rank$/,
};

function fieldOf(table, name) {
  return table !== null && typeof table === "object" && Object.hasOwn(table, name) ? table[name] : undefined;
}

function matching(value, pattern) {
  return typeof value === "string" && pattern.test(value) ? value : "";
}

// { problem } where it says nothing that can be used.
function readConfig(text) {
  if (text.length > LARGEST_CONFIG) return { problem: "This is larger than 1 MiB: no config.json of a model." };
  let config;
  try {
    config = JSON.parse(text);
  } catch {
    return { problem: "This is no JSON: open the config.json that lies beside the weights." };
  }
  const model = matching(fieldOf(config, "model_type"), MODEL_TYPE);
  if (!model) return { problem: "It names no model_type: open the config.json that lies beside the weights." };
  const fields = fieldsOf(config);
  const classes = fieldOf(config, "architectures");
  const name = matching(Array.isArray(classes) ? classes[0] : "", CLASS_NAME);
  const head = HEADS.find(([pattern]) => pattern.test(name));
  const dtype = fieldOf(config, "dtype") ?? fieldOf(config, "torch_dtype");
  return {
    model,
    auto: head?.[1] || "",
    family: familyOf(config, head),
    traits: traitsOf(fields),
    dtype: DTYPES.has(dtype) ? dtype : "",
    quantised: quantisedAs(fieldOf(config, "quantization_config")),
    saved: matching(fieldOf(config, "transformers_version"), RELEASE),
  };
}

// What its weights are quantised with: the formats of bitsandbytes by the suite's names, others by the method's.
function quantisedAs(table) {
  if (table === null || typeof table !== "object") return "";
  const method = matching(fieldOf(table, "quant_method"), QUANT_METHOD) || "bitsandbytes";
  if (method !== "bitsandbytes") return method;
  if (fieldOf(table, "load_in_8bit") === true) return "int8";
  if (fieldOf(table, "load_in_4bit") !== true) return "an unknown method";
  const format = matching(fieldOf(table, "bnb_4bit_quant_type"), QUANT_METHOD) || "fp4";
  return fieldOf(table, "bnb_4bit_use_double_quant") === true ? `${format}_double_quant` : format;
}

function familyOf(config, head) {
  if (fieldOf(config, "vision_config")) return "image and text";
  if (fieldOf(config, "audio_config")) return "speech";
  return fieldOf(config, "is_encoder_decoder") === true ? "encoder-decoder" : head?.[2] || "";
}

// Names and values, also of tables within tables, as many as a config may have.
function fieldsOf(config) {
  const found = [];
  const left = [config];
  while (left.length && found.length < MOST_FIELDS) {
    for (const [name, value] of Object.entries(left.pop()).slice(0, MOST_FIELDS)) {
      found.push([name, value]);
      if (value !== null && typeof value === "object" && !Array.isArray(value)) left.push(value);
    }
  }
  return found;
}

function traitsOf(fields) {
  const found = new Set(Object.keys(TRAITS).filter((trait) =>
    fields.some(([name, value]) => TRAITS[trait].test(name) && value && value !== 1)));
  const said = (wanted) => fields.find(([name, value]) => name === wanted && Number.isInteger(value))?.[1] || 0;
  if (said("num_key_value_heads") && said("num_key_value_heads") < said("num_attention_heads")) found.add("gqa");
  if (fields.some(([name, value]) => name === "is_encoder_decoder" && value === true)) found.add("encoder_decoder");
  const layers = fields.find(([name, value]) => name === "layer_types" && Array.isArray(value))?.[1] || [];
  if (layers.some((one) => typeof one === "string" && one.includes("linear"))) found.add("linear");
  return found;
}
