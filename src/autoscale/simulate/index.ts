export { type Explanation, explained } from "./explain.ts";
export { type Outcome, textOf } from "./outcome.ts";
export { lineOf, type Sheet, sheetsOf, tallyText } from "./print.ts";
export { type Case, readCases } from "./read.ts";
export { type Judged, replay, type Simulation, simulate, tally } from "./replay.ts";
