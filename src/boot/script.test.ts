import fc from "fast-check";
import { expect, test } from "vitest";
import { fillIn, loadScripts } from "./script.ts";

const scripts = loadScripts(new URL("../../pxe/", import.meta.url));
const values = { machine: "uefi-1", url: "http://10.77.0.1:8080/boot/0123456789abcdefghijkl", arguments: ["console=ttyS0", "quiet"] };

test("the installer's script", () => {
  const lines = scripts.render("installer", values).split("\n");
  expect(lines[0]).toBe("#!ipxe");
  expect(lines).toContain(
    `kernel ${values.url}/kernel initrd=initrd ironwright.url=${values.url} ironwright.mac=\${netX/mac} console=ttyS0 quiet && goto initrd ||`,
  );
});

test.each(["disk", "unknown"] as const)("%s says why and ends", (name) => {
  const lines = scripts.render(name, {}).trimEnd().split("\n");
  expect(lines.at(-1)).toBe("exit");
  expect(lines.join("\n")).toContain("echo Ironwright: ");
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
