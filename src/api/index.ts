export type { LeasesAnswer, PodAnswer, RefusalsAnswer, TimelineAnswer, TopAnswer } from "./answers.ts";
export { ApiProblem, askDaemon } from "./client.ts";
export { type Api, type ApiListen, type ApiParts, startApi } from "./server.ts";
