import { readFileSync } from "node:fs";

/**
 * iPXE splits a line at blanks, expands `${…}` anywhere, and knows no quoting: there is no escaping a value into a script. So a
 * value is one or more plain words, or it is refused.
 */
export type ScriptValue = string | readonly string[];

/** Neither blanks nor `$ { } # & | ; < > " ' \` nor anything that is not printable ASCII. */
const PLAIN_WORD = /^[A-Za-z0-9_.,:=/@%+~?![\]-]+$/;

export function isPlainWord(word: string): boolean {
  return PLAIN_WORD.test(word);
}

export type ScriptName = "installer" | "disk" | "unknown" | "loop";

/** The scripts of `pxe/`, with `{{name}}` filled in. */
export interface Scripts {
  render(name: ScriptName, values: Readonly<Record<string, ScriptValue>>): string;
}

/** @param directory of the templates, read once */
export function loadScripts(directory: URL | string): Scripts {
  const read = (name: ScriptName) =>
    readFileSync(typeof directory === "string" ? `${directory}/${name}.ipxe` : new URL(`${name}.ipxe`, directory), "utf8");
  const templates: Readonly<Record<ScriptName, string>> = {
    installer: read("installer"),
    disk: read("disk"),
    unknown: read("unknown"),
    loop: read("loop"),
  };
  return { render: (name, values) => fillIn(templates[name], values) };
}

/** Throws when a value is missing or could break out of its place; records are checked before, so that is a mistake of ours. */
export function fillIn(template: string, values: Readonly<Record<string, ScriptValue>>): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new TypeError(`the script names {{${name}}}, which it is not given`);
    const words = typeof value === "string" ? [value] : value;
    const bad = words.find((word) => !isPlainWord(word));
    if (bad !== undefined) throw new TypeError(`the value of {{${name}}} cannot stand in a script: ${JSON.stringify(bad)}`);
    return words.join(" ");
  });
}
