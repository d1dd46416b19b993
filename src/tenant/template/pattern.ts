/**
 * Patterns of parameters: matched in time that grows with the text alone, whatever the pattern is. JavaScript's own would let who
 * writes a template stop the daemon with `(a+)+`.
 *
 * Of regular expressions they have: characters, `.`, classes, `\d \w \s` and their opposites, groups, `|`, `* + ?`, `{n}`, `{n,}`
 * and `{n,m}`. A pattern is of the whole text, so that `^` and `$` at its ends say nothing more.
 */
export interface Pattern {
  matches(text: string): boolean;
}

type Test = (char: string) => boolean;
type Step = { readonly test: Test; next: number } | { readonly ways: number[] } | { readonly end: true };

/** Steps of one pattern: `{n,m}` is written out. */
const MOST_STEPS = 2_000;

/** @returns what is wrong with it, as text, when it is none */
export function readPattern(source: string): Pattern | string {
  try {
    return compiled(source);
  } catch (error) {
    if (error instanceof NoPattern) return error.message;
    throw error;
  }
}

class NoPattern extends Error {}

type Node =
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "chain"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly parts: readonly Node[] }
  | { readonly kind: "times"; readonly part: Node; readonly least: number; readonly most: number };

function compiled(source: string): Pattern {
  const tree = new Reader(source.replace(/^\^/, "").replace(/(?<!\\)\$$/, "")).whole();
  const steps: Step[] = [];
  const add = (step: Step): number => {
    if (steps.length >= MOST_STEPS) throw new NoPattern("it is too large");
    return steps.push(step) - 1;
  };
  /** Lays a node out in front of a step; returns where it begins. */
  const lay = (node: Node, next: number): number => {
    switch (node.kind) {
      case "char":
        return add({ test: node.test, next });
      case "chain":
        return node.parts.reduceRight((after, part) => lay(part, after), next);
      case "choice":
        return add({ ways: node.parts.map((part) => lay(part, next)) });
      case "times":
        return layTimes(node.part, node.least, node.most, next);
    }
  };
  const layTimes = (part: Node, least: number, most: number, next: number): number => {
    let after = next;
    if (most === Number.POSITIVE_INFINITY) {
      const ways: number[] = [];
      after = add({ ways });
      ways.push(lay(part, after), next);
    } else for (let n = least; n < most; n += 1) after = add({ ways: [lay(part, after), next] });
    for (let n = 0; n < least; n += 1) after = lay(part, after);
    return after;
  };
  const first = lay(tree, add({ end: true }));

  function reach(from: Iterable<number>): Set<number> {
    const reached = new Set<number>();
    const open = [...from];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (reached.has(at)) continue;
      reached.add(at);
      const step = steps[at];
      if (step && "ways" in step) open.push(...step.ways);
    }
    return reached;
  }

  return {
    matches(text) {
      let now = reach([first]);
      for (const char of text) {
        const next: number[] = [];
        for (const at of now) {
          const step = steps[at];
          if (step && "test" in step && step.test(char)) next.push(step.next);
        }
        now = reach(next);
        if (now.size === 0) return false;
      }
      return now.has(0);
    },
  };
}

const CLASSES: Readonly<Record<string, RegExp>> = { d: /^[0-9]$/, w: /^[A-Za-z0-9_]$/, s: /^[ \t\r\n\f\v]$/ };
const MOST_TIMES = 1_000;
/** Groups within groups. */
const DEEPEST = 50;

class Reader {
  private readonly chars: readonly string[];
  private at = 0;
  private depth = 0;

  constructor(source: string) {
    this.chars = [...source];
  }

  whole(): Node {
    const node = this.choice();
    if (this.at < this.chars.length) throw new NoPattern(`there is a ${this.peek()} too much`);
    return node;
  }

  private choice(): Node {
    const parts = [this.chain()];
    while (this.peek() === "|") {
      this.at += 1;
      parts.push(this.chain());
    }
    const [only] = parts;
    return only && parts.length === 1 ? only : { kind: "choice", parts };
  }

  private chain(): Node {
    const parts: Node[] = [];
    for (let char = this.peek(); char !== undefined && char !== "|" && char !== ")"; char = this.peek()) parts.push(this.repeated());
    return { kind: "chain", parts };
  }

  private repeated(): Node {
    const part = this.one();
    const char = this.peek();
    const times =
      char === "*" ? [0, Number.POSITIVE_INFINITY] : char === "+" ? [1, Number.POSITIVE_INFINITY] : char === "?" ? [0, 1] : undefined;
    if (times) this.at += 1;
    const [least = 1, most = 1] = times ?? (char === "{" ? this.counted() : []);
    if (least === 1 && most === 1) return part;
    if ("*+?{".includes(this.peek() ?? " ")) throw new NoPattern(`${this.peek()} follows another count`);
    return { kind: "times", part, least, most };
  }

  private counted(): readonly [number, number] {
    const end = this.chars.indexOf("}", this.at);
    const inside = /^(\d{1,4})(,(\d{0,4}))?$/.exec(this.chars.slice(this.at + 1, Math.max(end, this.at + 1)).join(""));
    if (!inside) throw new NoPattern("a { is followed by no count; write \\{ for the character");
    this.at = end + 1;
    const least = Number(inside[1]);
    const most = inside[2] === undefined ? least : inside[3] === "" ? Number.POSITIVE_INFINITY : Number(inside[3]);
    if (least > most || least > MOST_TIMES || (Number.isFinite(most) && most > MOST_TIMES))
      throw new NoPattern("its counts are too large, or in no order");
    return [least, most];
  }

  private one(): Node {
    const char = this.take();
    switch (char) {
      case "(":
        return this.group();
      case "[":
        return { kind: "char", test: this.set() };
      case ".":
        return { kind: "char", test: (one) => one !== "\n" };
      case "\\":
        return { kind: "char", test: this.escaped() };
      case "*":
      case "+":
      case "?":
      case "{":
      case "^":
      case "$":
        throw new NoPattern(`a ${char} stands where it counts nothing; write \\${char} for the character`);
      default:
        return { kind: "char", test: (one) => one === char };
    }
  }

  private group(): Node {
    if (this.peek() === "?") {
      if (this.chars[this.at + 1] !== ":") throw new NoPattern("of groups there are ( ) and (?: ) alone");
      this.at += 2;
    }
    this.depth += 1;
    if (this.depth > DEEPEST) throw new NoPattern("its groups are too deep");
    const node = this.choice();
    if (this.take() !== ")") throw new NoPattern("a ( is not closed");
    this.depth -= 1;
    return node;
  }

  private escaped(): Test {
    const char = this.take();
    const known = CLASSES[char.toLowerCase()];
    if (known) return char === char.toLowerCase() ? (one) => known.test(one) : (one) => !known.test(one);
    if (/[A-Za-z0-9]/.test(char)) throw new NoPattern(`\\${char} is not known here`);
    return (one) => one === char;
  }

  private set(): Test {
    const not = this.peek() === "^";
    if (not) this.at += 1;
    const tests: Test[] = [];
    do {
      const char = this.take();
      if (char === "\\") tests.push(this.escaped());
      else if (this.peek() === "-" && this.chars[this.at + 1] !== "]") tests.push(this.range(char));
      else tests.push((one) => one === char);
    } while (this.peek() !== "]");
    this.at += 1;
    return not ? (one) => !tests.some((test) => test(one)) : (one) => tests.some((test) => test(one));
  }

  private range(first: string): Test {
    this.at += 1;
    const last = this.take();
    if (last === "\\" || order(last) < order(first)) throw new NoPattern(`${first}-${last} is no range`);
    return (one) => order(one) >= order(first) && order(one) <= order(last);
  }

  private peek(): string | undefined {
    return this.chars[this.at];
  }

  private take(): string {
    const char = this.peek();
    if (char === undefined) throw new NoPattern("it ends too early");
    this.at += 1;
    return char;
  }
}

function order(char: string): number {
  return char.codePointAt(0) ?? 0;
}
