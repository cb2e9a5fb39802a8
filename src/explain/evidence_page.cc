// The page of an evidence table: static HTML that reads as a table without a script, and a script that draws the links of one sentence.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/format.h"
#include "base/markup.h"
#include "clearhead/error.h"
#include "explain/evidence.h"

namespace clearhead::explain {
namespace {

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--page:#fff;--card:#f6f7f8;--text:#1c1f22;--soft:#5c656d;--line:#d6dade;--link:#0b6a94}
@media(prefers-color-scheme:dark){:root{--page:#15181b;--card:#1f2429;--text:#e7eaec;--soft:#a3adb5;--line:#3a4249;--link:#56b4e9}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
header,footer{max-width:1200px;margin:0 auto;padding:1rem 1.25rem}
h1{font-size:1.3rem;margin:0 0 .25rem}h2{font-size:.95rem;margin:0 0 .5rem}
p{margin:.25rem 0}.soft,small{color:var(--soft)}
main{position:relative;max-width:1200px;margin:0 auto;padding:0 1.25rem;display:grid;grid-template-columns:5fr 1fr 6fr}
svg{position:absolute;inset:0;width:100%;height:100%;pointer-events:none}
path{fill:none;stroke:var(--link);stroke-linecap:round}
ol{list-style:none;margin:0;padding:0}li{margin:0 0 .5rem}
#answer{grid-column:1}#documents{grid-column:3}
button,article{display:block;width:100%;text-align:left;font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:.4rem;padding:.5rem .7rem}
button{cursor:pointer}button[aria-pressed=true]{border-color:var(--link);box-shadow:inset .25rem 0 var(--link)}
button:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
button span,pre{overflow-wrap:anywhere;white-space:pre-wrap}
.bar{display:block;height:.5rem;margin:.3rem 0;background:var(--line);border-radius:.25rem;position:relative}
.bar b{display:block;height:100%;background:var(--link);border-radius:.25rem;width:0}
.bar i{position:absolute;top:-.15rem;bottom:-.15rem;width:2px;background:var(--text)}
.numbers{display:flex;gap:1rem;flex-wrap:wrap;font-variant-numeric:tabular-nums}
pre{font:inherit;font-size:.9rem;margin:.4rem 0 0;max-height:16rem;overflow:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line)}th:first-child{text-align:left}
.scroll{overflow-x:auto}
@media(max-width:700px){main{display:block}main svg{display:none}#documents{margin-top:1rem}}
@media(forced-colors:active){.bar b{background:Highlight}path{stroke:Highlight}}
)";

constexpr std::string_view kScript = R"(
const data = JSON.parse(document.getElementById('evidence').textContent);
const main = document.querySelector('main'), links = main.querySelector('svg');
const sentences = [...main.querySelectorAll('button')], cards = [...main.querySelectorAll('article')];
let chosen = 0;
const percent = (x) => x === null ? '–' : (100 * x).toFixed(1) + ' %';
function draw() {
  links.replaceChildren();
  const frame = main.getBoundingClientRect(), from = sentences[chosen].getBoundingClientRect();
  data.sentences[chosen].documents.forEach((one, at) => {
    if (!(one.share > 0.005)) return;
    const to = cards[at].getBoundingClientRect();
    const x = from.right - frame.left, y = from.top + from.height / 2 - frame.top;
    const u = to.left - frame.left, v = to.top + Math.min(24, to.height / 2) - frame.top, middle = (x + u) / 2;
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', `M${x} ${y}C${middle} ${y} ${middle} ${v} ${u} ${v}`);
    path.setAttribute('stroke-width', 1 + 13 * one.share);
    path.setAttribute('opacity', 0.25 + 0.7 * one.share);
    links.append(path);
  });
}
function choose(at) {
  chosen = at;
  sentences.forEach((one, which) => one.setAttribute('aria-pressed', which === at));
  data.sentences[at].documents.forEach((one, which) => {
    cards[which].querySelector('b').style.width = 100 * Math.max(0, one.share ?? 0) + '%';
    cards[which].querySelector('.share').textContent = percent(one.share);
    cards[which].querySelector('.drop').textContent = one.drop === null ? '–' : Number(one.drop.toPrecision(3));
  });
  document.getElementById('elsewhere').textContent = percent(data.sentences[at].elsewhere);
  draw();
}
sentences.forEach((one, at) => {
  one.addEventListener('click', () => choose(at));
  one.addEventListener('focus', () => choose(at));
  one.addEventListener('keydown', (event) => {
    const next = at + { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!sentences[next]) return;
    event.preventDefault();
    sentences[next].focus();
  });
});
main.addEventListener('toggle', draw, true);
addEventListener('resize', draw);
choose(0);
)";

// {0}: the title, {1}: the style, {2}: the method
constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{0}</title>
<style>{1}</style></head>
<body><header><h1>{0}</h1>
<p class="soft">Choose a sentence with the pointer, the Tab key or the arrow keys. Share: the document's part of the attribution ({2}); the
mark on the bar is the part that it would have by its length alone. Drop: decrease of the sentence's log-probability when the model cannot
see the document.</p></header>
<main><svg aria-hidden="true"></svg>
)";

// {0}: the name, {1}: the place of the mark, {2}: the share by length, {3}: the text
constexpr const char* kDocument = R"(<li><article><strong>{0}</strong><span class="bar"><b></b><i style="left:{1:.2f}%"></i></span>
<span class="numbers"><span>share <span class="share">–</span></span><span class="soft">by length {2}</span>
<span>drop <span class="drop">–</span></span></span>
<details><summary>text</summary><pre tabindex="0">{3}</pre></details></article></li>
)";

const Json& field(const Json& of, std::string_view name) {
  if (const Json* found = of.find(name)) return *found;
  fail(ErrorCode::kFormat, "evidence: field \"{}\" is missing; expected the fields of Evidence.to_dict()", name);
}

std::string percent_of(const Json& share) { return share.is_null() ? "–" : format("{:.1f} %", share.number() * 100); }
std::string number_of(const Json& number) { return number.is_null() ? "–" : format("{:.3g}", number.number()); }

// JSON inside a script element: "<" is written as an escape, so that no text ends the element.
std::string for_script(const Json& json) {
  std::string out;
  for (const char c : json.dump()) out += c == '<' ? "\\u003c" : std::string(1, c);
  return out;
}

std::string sentences_html(const Json& evidence) {
  std::string out = "<section id=\"answer\"><h2>Answer</h2><ol>\n";
  bool is_first = true;
  for (const Json& sentence : field(evidence, "sentences").items()) {
    out += format("<li><button type=\"button\" aria-pressed=\"{}\"><span>{}</span><br><small>log-probability {}</small></button></li>\n",
                  is_first, markup_escaped(field(sentence, "text").string()), number_of(field(sentence, "log_probability")));
    is_first = false;
  }
  return out + "</ol><p class=\"soft\">In the question and elsewhere: <span id=\"elsewhere\">–</span></p></section>\n";
}

std::string documents_html(const Json& evidence, const std::vector<std::string>& texts) {
  std::string out = "<section id=\"documents\" aria-live=\"polite\"><h2>Documents</h2><ol>\n";
  const Json::Array& documents = field(evidence, "documents").items();
  for (size_t at = 0; at < documents.size(); ++at) {
    const Json& expected = field(documents[at], "expected");
    const double mark = expected.is_null() ? 0 : std::clamp(expected.number(), 0.0, 1.0) * 100;
    out += format(kDocument, markup_escaped(field(documents[at], "name").string()), mark, percent_of(expected), markup_escaped(texts[at]));
  }
  return out + "</ol></section>\n";
}

std::string table_html(const Json& evidence) {
  std::string out = "<h2>All shares and drops</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">sentence</th>";
  for (const Json& document : field(evidence, "documents").items())
    out += format("<th scope=\"col\">{}</th>", markup_escaped(field(document, "name").string()));
  out += "</tr></thead><tbody>\n";
  for (const Json& sentence : field(evidence, "sentences").items()) {
    out += format("<tr><th scope=\"row\">{}</th>", markup_escaped(field(sentence, "text").string()));
    for (const Json& document : field(sentence, "documents").items())
      out += format("<td>{}<br><small>{}</small></td>", percent_of(field(document, "share")), number_of(field(document, "drop")));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string trust_html(const Json& evidence) {
  std::string out = "<p>Rank correlation of predicted and measured drops, mean and 95 % interval: ";
  const Json& trust = field(evidence, "trust");
  const std::string shares = "shares (" + field(evidence, "method").string() + ")";
  const std::pair<const char*, std::string> names[] = {
      {"shares", shares}, {"bm25", "similarity of words (BM25)"}, {"random", "random shares"}};
  for (const auto& [name, label] : names) {
    const Json& of = field(trust, name);
    out += format("{}{} {} [{}, {}]", name == names[0].first ? "" : "; ", markup_escaped(label), number_of(field(of, "mean")),
                  number_of(field(of, "low")), number_of(field(of, "high")));
  }
  return out + ". Shares that score no higher than the baselines do not predict what happens without a document.</p>\n";
}

}  // namespace

std::string evidence_page(const std::string& title, const Json& evidence, const std::vector<std::string>& texts) {
  const size_t documents = field(evidence, "documents").size();
  if (documents != texts.size())
    fail(ErrorCode::kInvalidArgument, "evidence: {} texts for {} documents; expected one for each", texts.size(), documents);
  for (const Json& sentence : field(evidence, "sentences").items()) {
    if (field(sentence, "documents").size() != documents)
      fail(ErrorCode::kFormat, "evidence: a sentence has {} of {} documents", field(sentence, "documents").size(), documents);
  }
  std::string out = format(kHead, markup_escaped(title), kStyle, markup_escaped(field(evidence, "method").string()));
  out += sentences_html(evidence) + documents_html(evidence, texts) + "</main>\n<footer>" + trust_html(evidence) + table_html(evidence);
  out += "</footer>\n<script type=\"application/json\" id=\"evidence\">" + for_script(evidence) + "</script>\n<script>" +
         std::string(kScript) + "</script></body></html>\n";
  return out;
}

}  // namespace clearhead::explain
