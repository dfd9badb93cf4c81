"use strict";

function find(id) {
  return document.getElementById(id);
}

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const name in properties) {
    const value = properties[name];
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children) {
    if (child !== undefined && child !== null) element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function mark(element, current) {
  if (current) element.setAttribute("aria-current", "true");
  else element.removeAttribute("aria-current");
}

const wholeNumber = new Intl.NumberFormat("en-GB");

function whole(value) {
  return wholeNumber.format(value);
}

function number(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return whole(value);
  if (Math.abs(value) < 0.001) return value.toExponential(2);
  return Math.abs(value) >= 1000 ? whole(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function address(text) {
  try {
    const url = new URL(text);
    if (["http:", "https:"].includes(url.protocol)) return make("a", { href: url.href, rel: "noopener noreferrer" }, text);
  } catch {
    // Not an address: the text stays a text.
  }
  return document.createTextNode(text);
}

function icon(symbol) {
  return make("span", { class: "symbol", "aria-hidden": "true" }, symbol);
}
