import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import { fill, loadPlaybooks } from "./playbook.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "iw-playbooks-"));
  mkdirSync(join(dir, "a"));
  writeFileSync(join(dir, "step.sh"), "");
});
afterEach(() => rmSync(dir, { recursive: true }));

function problems(yaml: string): string {
  writeFileSync(join(dir, "a", "b.yaml"), yaml);
  try {
    loadPlaybooks(dir);
    return "none";
  } catch (error) {
    if (isError(error, "IRW_PLAYBOOK_INVALID")) return error.facts.problems;
    throw error;
  }
}

test("the playbooks that are shipped are valid", () => {
  const shipped = loadPlaybooks(fileURLToPath(new URL("../../playbooks", import.meta.url)));
  for (const name of ["partition", "write-image", "bootloader", "configure", "remove-key"])
    expect(shipped.get(`install/${name}`).steps).not.toEqual([]);
  expect(() => shipped.get("install/nothing")).toThrow(/does not exist/);
});

test.each([
  ["steps: [{ run: x }]", "description: "],
  ["{ description: d, steps: [] }", "steps: "],
  ["{ description: d, steps: [{ name: n }] }", "steps[0]: expected exactly one of run, script, upload, template, wait, reboot; found none"],
  ["{ description: d, steps: [{ run: x, reboot: {} }] }", "found run and reboot"],
  ["{ description: d, steps: [{ run: x, timeout: soon }] }", "steps[0].timeout: a duration"],
  ["{ description: d, steps: [{ run: x, sudo: true }] }", 'Unrecognized key: "sudo"'],
  ["{ description: d, steps: [{ run: x, when: disk }] }", "steps[0].when: "],
  ['{ description: d, steps: [{ run: x, when: disk == "a" }] }', "steps[0].when: disk is not in vars"],
  ["{ description: d, steps: [{ script: nothing.sh }] }", "there is no file nothing.sh beside it"],
  ["{ description: d, steps: [{ script: ../x.sh }] }", "steps[0].script[0]: the name of a file beside the playbook"],
  ['{ description: d, steps: [{ upload: { from: f, to: etc/x, mode: "0600" } }] }', "steps[0].upload.to: an absolute path"],
  ["{ description: d, steps: [{ upload: { from: f, to: /etc/x, mode: 600 } }] }", "steps[0].upload.mode: "],
  ["{ description: d, vars: [Disk], steps: [{ run: x }] }", "vars[0]: a variable"],
  ["{ description: d, steps: [{ reboot: {}, register: r }] }", "steps[0].register: only run and script print a result"],
  ["{ description: [", "Flow"],
])("%s", (yaml, want) => {
  expect(problems(yaml)).toContain(want);
});

test("a template names only declared variables, and what is filled in is not looked at again", () => {
  writeFileSync(join(dir, "a", "t"), "{{ name }} {{ other }}");
  expect(problems('{ description: d, vars: [name], steps: [{ template: { from: t, to: /x, mode: "0644" } }] }')).toContain(
    "{{ other }}, which is not in vars",
  );
  expect(fill("a={{ a }} b={{b}} $(c) {{}}", { a: "{{ b }}", b: "$&" })).toBe("a={{ b }} b=$& $(c) {{}}");
});
