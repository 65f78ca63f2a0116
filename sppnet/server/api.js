"use strict";
const main = document.getElementById("main");

function add(parent, tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function kind(schema) {  // the type of a value in words
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.prefixItems) return `${schema.prefixItems.length} ${kind(schema.prefixItems[0])}s`;
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return schema.contentMediaType || schema.format === "binary" ? "file" : schema.type ?? "";
}

function table(parent, rows) {
  const body = add(add(parent, "table"), "tbody");
  for (const [name, type, description] of rows) {
    const row = add(body, "tr");
    const head = add(row, "th");
    head.scope = "row";
    add(head, "code", name);
    add(head, "span", type).className = "quiet";
    add(row, "td", description);
  }
}

const content = part => Object.entries(part?.content ?? {})[0] ?? [];
const fields = schema => Object.entries(schema.properties ?? {}).map(([name, field]) => [name, kind(field), field.description ?? ""]);

function operation(method, path, spec, schemas) {
  add(main, "h2", `${method.toUpperCase()} ${path}`);
  add(main, "p", spec.description ?? spec.summary);
  if (spec.parameters) {
    add(main, "h3", "Query");
    table(main, spec.parameters.map(p => [p.name, kind(p.schema), `${p.description ?? ""}${p.schema.default === undefined ? "" : ` (default: ${p.schema.default})`}`]));
  }
  const [type, body] = content(spec.requestBody);
  if (type) {
    add(main, "h3", `Body, ${type}`);
    table(main, fields(schemas[kind(body.schema)]));
  }
  add(main, "h3", "Responses, JSON");
  table(main, Object.entries(spec.responses).map(([status, r]) => [status, kind(content(r)[1]?.schema), r.description]));
}

function describe(api) {
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, spec] of Object.entries(methods)) operation(method, path, spec, api.components.schemas);
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    if (name.startsWith("Body_")) continue;
    add(main, "h2", name);
    add(main, "p", schema.description ?? "");
    table(main, fields(schema));
  }
}

document.getElementById("example").textContent = `curl -F photo=@photo.jpg "${new URL("detect", location.href)}"`;
fetch("openapi.json").then(reply => reply.json()).then(describe).catch(error => add(main, "p", `openapi.json cannot be read: ${error.message}`));
