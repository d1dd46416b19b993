import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { pages } from "./reference.ts";

test.each(Object.entries(pages()))(
  "docs/reference/%s is what the code says (node test/architecture/reference.ts writes it)",
  (name, text) => {
    expect(readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), "utf8")).toBe(text);
  },
);
