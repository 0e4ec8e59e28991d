// Parses and binds KQL with Microsoft's own library, and says what each query reads.
//
// Reads {"tables": {name: "(column:type, ...)"}, "queries": {id: text}} from standard input, and writes {id: answer}:
// what is wrong (`problems`), the columns of the result that are texts (`texts`), and one entry of `reads` for each
// pipeline: its tables, their columns that it uses, the keys of Properties that it uses, and the texts that it compares a
// column or a key with.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const library = process.env.BERTH_KUSTO;
require(`${library}/bridge.min.js`); // both make globals
require(`${library}/Kusto.Language.Bridge.min.js`);
const { GlobalState, KustoCode, Symbols, Syntax } = globalThis.Kusto.Language;
const kinds = Syntax.SyntaxKind;

const children = (node) => Array.from({ length: node.ChildCount }, (_, index) => node.GetChild(index)).filter(Boolean);
const descend = (node, visit) => visit(node) !== false && children(node).forEach((child) => descend(child, visit));
const text = (node) => node.toString().trim();

function literals(node) {
  const found = [];
  descend(node, (each) => {
    if (each.Kind === kinds.StringLiteralExpression) found.push(each.LiteralValue);
  });
  return found;
}

function keyOf(node) {
  // tostring(Properties["key"]) and the like, or Properties["key"] itself
  let found = null;
  descend(node, (each) => {
    if (each.Kind === kinds.ElementExpression && text(each.Expression) === "Properties") found ??= literals(each.Selector)[0];
  });
  return found;
}

function read(root, columns, tables, named) {
  const answer = { tables: [], columns: [], keys: [], compared: [] };
  let source = root;
  while (source.Kind === kinds.PipeExpression) source = source.Expression;
  const from = named.get(text(source));
  if (from) Object.assign(answer, structuredClone(read(from, columns, tables, named)));
  descend(root, (node) => {
    if (node !== root && node.Kind === kinds.PipeExpression && node.Parent.Kind !== kinds.PipeExpression) return false;
    const symbol = node.Kind === kinds.NameReference ? node.ReferencedSymbol : null;
    if (symbol && tables.has(symbol)) answer.tables.push(symbol.Name);
    if (symbol && columns.has(symbol)) answer.columns.push(symbol.Name);
    if (node.Kind === kinds.PathExpression && text(node.Expression) === "Properties") answer.keys.push(text(node.Selector));
    if (node.Kind === kinds.ElementExpression && keyOf(node)) answer.keys.push(keyOf(node));
    if (node.Left && node.Right && literals(node.Right).length) {
      const column = node.Left.Kind === kinds.NameReference && columns.has(node.Left.ReferencedSymbol) ? text(node.Left) : null;
      const key = keyOf(node.Left);
      if (column || key) answer.compared.push({ column, key, operator: kindName(node), values: literals(node.Right) });
    }
    return true;
  });
  for (const name of ["tables", "columns", "keys"]) answer[name] = [...new Set(answer[name])];
  return answer;
}

const names = new Map(Object.entries(kinds).map(([name, value]) => [value, name]));
const kindName = (node) => names.get(node.Kind);

function check(query, globals) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  const tables = new Set(Array.from({ length: globals.Database.Tables.Count }, (_, i) => globals.Database.Tables.getItem(i)));
  const columns = new Set();
  for (const table of tables) for (let i = 0; i < table.Columns.Count; i++) columns.add(table.Columns.getItem(i));
  const diagnostics = code.GetDiagnostics();
  const problems = Array.from({ length: diagnostics.Count }, (_, index) => {
    const each = diagnostics.getItem(index);
    const before = query.slice(0, each.Start);
    return { line: before.split("\n").length, code: each.Code, severity: each.Severity, message: each.Message };
  });
  const named = new Map();
  const roots = [];
  descend(code.Syntax, (node) => {
    if (node.Kind === kinds.LetStatement) named.set(text(node.Name), node.Expression);
    const isRoot = node.Kind === kinds.PipeExpression && node.Parent.Kind !== kinds.PipeExpression;
    if (isRoot) roots.push(node);
    return true;
  });
  const result = code.ResultType?.Columns;
  const texts = Array.from({ length: result?.Count ?? 0 }, (_, index) => result.getItem(index))
    .filter((each) => each.Type === Symbols.ScalarTypes.String)
    .map((each) => each.Name);
  return { problems, texts, reads: roots.map((root) => read(root, columns, tables, named)) };
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const tables = Object.entries(asked.tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, schema, null));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor3("workspace", null, tables, false));
const answers = Object.entries(asked.queries).map(([id, query]) => [id, check(query, globals)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
