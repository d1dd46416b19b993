import { expect, test } from "vitest";
import { choosePort } from "./ports.ts";

test("the lowest that nobody has", () => {
  expect(choosePort({ from: 5, to: 9 }, [])).toBe(5);
  expect(choosePort({ from: 5, to: 9 }, [{ port: 5 }, {}, { port: 7 }, { port: 6 }])).toBe(8);
});

test("when all are taken, it says so", () => {
  expect(() => choosePort({ from: 5, to: 6 }, [{ port: 6 }, { port: 5 }])).toThrow("every port from 5 to 6");
});
