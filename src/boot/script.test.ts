import fc from "fast-check";
import { expect, test } from "vitest";
import { fillIn, loadScripts, screenWords } from "./script.ts";

const scripts = loadScripts(new URL("../../pxe/", import.meta.url));
const values = {
  machine: "uefi-1",
  server: "http://10.77.0.1:8080",
  url: "http://10.77.0.1:8080/boot/0123456789abcdefghijkl",
  arguments: ["console=ttyS0", "quiet"],
};

test("the installer's script", () => {
  const lines = scripts.render("installer", values).split("\n");
  expect(lines[0]).toBe("#!ipxe");
  expect(lines).toContain(
    `kernel ${values.url}/kernel initrd=initrd ironwright.url=${values.url} ironwright.mac=\${netX/mac} console=ttyS0 quiet && goto kernel-there ||`,
  );
});

const told = { ...values, reason: ["it", "has", "no", "work"], next: "wait", tries: "6" };

test.each(["disk", "unknown", "loop"] as const)("%s says why and ends", (name) => {
  const lines = scripts.render(name, told).trimEnd().split("\n");
  expect(lines.at(-1)).toBe("exit");
  expect(lines.join("\n")).toContain("echo Ironwright: ");
});

test.each(["installer", "problem"] as const)("every loop of %s is bounded, and it ends in the next boot device", (name) => {
  const lines = scripts.render(name, told).trimEnd().split("\n");
  const labels = new Set(lines.filter((line) => line.startsWith(":")).map((line) => line.slice(1)));
  lines.forEach((line, at) => {
    const target = /goto (\S+)/.exec(line)?.[1];
    if (target === undefined) return;
    expect(labels).toContain(target);
    const back = lines.indexOf(`:${target}`);
    if (back < at) expect(lines.slice(back, at).join("\n")).toMatch(/^inc tries\niseq \S+ \d+ && goto failed/m);
  });
  expect(lines.at(-1)).toBe("exit 1");
});

test("whatever a message says, it stays on its line and means nothing to iPXE", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.string({ unit: fc.constantFrom(..."ab .$ {}#&|;\\'\"`<>\n\r\t"), maxLength: 60 }),
  );
  const expected = scripts.render("problem", { ...told, reason: "r", next: "n" }).split("\n");
  fc.assert(
    fc.property(text, text, (reason, next) => {
      const lines = scripts.render("problem", { ...told, reason: screenWords(reason), next: screenWords(next) }).split("\n");
      expect(lines.length).toBe(expected.length);
      const differing = lines.filter((line, at) => line !== expected[at]);
      expect(differing.every((line) => /^echo (Why|What to do):( [A-Za-z0-9_.,:=/@%+~?![\]-]+)+$/.test(line))).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("no value changes the script around it", () => {
  const lines = (script: string) => script.split("\n").length;
  const expected = lines(scripts.render("installer", values));
  const word = fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.string({ unit: fc.constantFrom(..."az09.=/-$ {}#&|;\n"), maxLength: 4 }),
  );
  const holds = (machine: string, words: readonly string[]) => {
    let script: string;
    try {
      script = scripts.render("installer", { ...values, machine, arguments: words });
    } catch (error) {
      return error instanceof TypeError;
    }
    return lines(script) === expected && [machine, ...words].every((one) => !/[\s${}#&|;\\]/.test(one));
  };
  fc.assert(fc.property(word, fc.array(word, { maxLength: 3 }), holds), { numRuns: 2000 });
});

test.each(["a b", "a\nexit", `\${net0/mac}`, "a||b", "#", "", "é"])("%j is refused", (word) => {
  expect(() => fillIn("echo {{word}}", { word })).toThrow(TypeError);
});
