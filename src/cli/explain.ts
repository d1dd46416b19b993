import { Command } from "commander";
import { codes, explain } from "../core/errors.ts";

export function explainCommand(): Command {
  return new Command("explain")
    .description("say what an error code means and what to do next")
    .argument("[code]", "IRW_…; without it all are listed")
    .action((code: string | undefined) => {
      if (code === undefined) {
        console.log(codes.join("\n"));
        return;
      }
      const found = explain(code.toUpperCase());
      if (!found) throw new Error(`there is no code ${code}; \`ironwright explain\` lists all`);
      console.log(`${found.code}\n  what: ${found.says}\n  next: ${found.next}`);
    });
}
