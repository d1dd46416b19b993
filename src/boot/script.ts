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

/**
 * Any text as words that are safe on a line `echo …`: quotes vanish, brackets and separators become harmless ones, and whatever
 * else could mean something to iPXE becomes a question mark. At most 200 characters, so that a screen of 80 columns holds it.
 */
export function screenWords(text: string): readonly string[] {
  const plain = [...text.slice(0, MOST_ON_SCREEN)].map((sign) => LOOKS_LIKE[sign] ?? (isPlainWord(sign) || sign === " " ? sign : "?"));
  const words = plain.join("").split(" ").filter(isPlainWord);
  return words.length > 0 ? words : ["-"];
}

const MOST_ON_SCREEN = 200;
const LOOKS_LIKE: Readonly<Record<string, string>> = {
  "(": "[",
  ")": "]",
  "{": "[",
  "}": "]",
  "<": "[",
  ">": "]",
  ";": ",",
  "'": "",
  '"': "",
  "`": "",
  "\\": "/",
  "\n": " ",
  "\r": " ",
  "\t": " ",
  "–": "-",
  "—": "-",
  "’": "",
};

const FILES = {
  installer: "installer.ipxe",
  disk: "disk.ipxe",
  unknown: "unknown.ipxe",
  loop: "loop.ipxe",
  problem: "problem.ipxe",
  grub: "grub.cfg",
  "grub-nothing": "grub-nothing.cfg",
} as const;

export type ScriptName = keyof typeof FILES;

/** The scripts of `pxe/` for iPXE and GRUB, with `{{name}}` filled in. */
export interface Scripts {
  render(name: ScriptName, values: Readonly<Record<string, ScriptValue>>): string;
}

/** @param directory of the templates, read once */
export function loadScripts(directory: URL | string): Scripts {
  const read = (file: string) => readFileSync(typeof directory === "string" ? `${directory}/${file}` : new URL(file, directory), "utf8");
  const templates = new Map(Object.entries(FILES).map(([name, file]) => [name, read(file)]));
  return { render: (name, values) => fillIn(templates.get(name) ?? "", values) };
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
