// Splits an answer into sentences, attributes each, and measures the answer without documents.
#include "explain/evidence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/tokenizer.h"
#include "explain/text_target.h"
#include "models/input_text.h"
#include "models/trace_text.h"

namespace clearhead::explain {
namespace {

void check_cancelled_by(const EvidenceOptions& options) {
  if (options.cancel && options.cancel->load()) fail(ErrorCode::kCancelled, "cite: cancelled");
}

std::vector<int32_t> part(const std::vector<int32_t>& ids, int64_t begin, int64_t end) { return {ids.begin() + begin, ids.begin() + end}; }

double sum_of(const std::vector<double>& values, const Range& range) {
  return std::accumulate(values.begin() + range.begin, values.begin() + range.end, 0.0);
}

// The sentences of an answer. Every token belongs to one sentence.   log_probabilities: [token]
std::vector<EvidenceSentence> sentences_of_answer(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                                  const std::vector<double>& log_probabilities) {
  const auto count = static_cast<int64_t>(ids.size());
  const std::string text = tokenizer.decode(ids);
  std::vector<size_t> ends;  // of each token, in bytes
  for (int64_t token = 1; token <= count; ++token) ends.push_back(tokenizer.decode(part(ids, 0, token)).size());
  std::vector<EvidenceSentence> out;
  int64_t begin = 0;
  size_t at = 0;
  for (const std::string& sentence : sentences_of(text)) {
    const size_t found = text.find(sentence, at);
    if (found == std::string::npos) continue;
    const size_t stop = found + sentence.size();
    const auto reaches = std::find_if(ends.begin(), ends.end(), [&](size_t reached) { return reached >= stop; });
    const int64_t end = reaches == ends.end() ? count : reaches - ends.begin() + 1;
    if (end <= begin) continue;
    out.push_back({text.substr(at, stop - at), {begin, end}});
    begin = end;
    at = stop;
  }
  if (out.empty()) return {{text, {0, count}, sum_of(log_probabilities, {0, count})}};
  if (begin < count) {
    out.back().text += text.substr(at);
    out.back().tokens.end = count;
  }
  for (EvidenceSentence& one : out) one.log_probability = sum_of(log_probabilities, one.tokens);
  return out;
}

// The tokens of each document. A token that two documents share belongs to the first.
std::vector<Range> tokens_of_documents(const AttributionTarget& target, const Encoding& encoding, const DocumentPrompt& prompt,
                                       const std::vector<Document>& documents) {
  std::vector<Range> out;
  for (size_t at = 0; at < documents.size(); ++at) {
    const Range bytes = prompt.documents[at];
    Range tokens{-1, -1};
    for (const Range& item : target.items()) {
      const auto [begin, end] = encoding.offsets[static_cast<size_t>(item.begin)];
      if (begin >= bytes.end || end <= bytes.begin || (!out.empty() && item.begin < out.back().end)) continue;
      if (tokens.begin < 0) tokens.begin = item.begin;
      tokens.end = item.end;
    }
    if (tokens.begin < 0)
      fail(ErrorCode::kNotFound, "cite: \"{}\" has no token in the prompt; leave out empty documents", documents[at].name);
    out.push_back(tokens);
  }
  return out;
}

// Adds the shares of one sentence: of each document, and of the other tokens of the prompt.
void add_shares(Evidence& to, const AttributionTarget& target, const Method& method, const std::vector<Range>& documents,
                int64_t prompt_tokens, const EvidenceOptions& options) {
  const std::vector<double> of_items = attribute(target, method, {.cancel = options.cancel});
  std::vector<double> of_documents(documents.size());
  double prompt = 0;
  for (size_t item = 0; item < of_items.size(); ++item) {
    const int64_t token = target.items()[item].begin;
    const double share = std::max(0.0, of_items[item]);
    if (token >= prompt_tokens) continue;
    prompt += share;
    for (size_t at = 0; at < documents.size(); ++at)
      of_documents[at] += token >= documents[at].begin && token < documents[at].end ? share : 0;
  }
  for (double& share : of_documents) share /= prompt > 0 ? prompt : 1;
  const double sum = std::accumulate(of_documents.begin(), of_documents.end(), 0.0);
  to.elsewhere.push_back(prompt > 0 ? 1 - sum : std::numeric_limits<double>::quiet_NaN());
  to.shares.push_back(std::move(of_documents));
}

// [sentence][set]
Rows drops_of(const AttributionTarget& target, const std::vector<EvidenceSentence>& sentences, const std::vector<DocumentSet>& sets,
              const EvidenceOptions& options) {
  constexpr size_t kTogether = 16;  // between checks for an interrupt
  Rows out(sentences.size());
  for (size_t begin = 0; begin < sets.size(); begin += kTogether) {
    check_cancelled_by(options);
    const auto at = [&](size_t set) { return sets.begin() + static_cast<std::ptrdiff_t>(set); };
    const std::vector<DocumentSet> some(at(begin), at(std::min(sets.size(), begin + kTogether)));
    for (const std::vector<double>& log_probabilities : target.log_probabilities(some, RemovedBy::kUnseen)) {
      for (size_t sentence = 0; sentence < sentences.size(); ++sentence)
        out[sentence].push_back(sentences[sentence].log_probability - sum_of(log_probabilities, sentences[sentence].tokens));
    }
  }
  return out;
}

void check_arguments(const std::vector<Document>& documents, const std::string& question, const std::vector<int32_t>& answer) {
  if (documents.size() < 2) fail(ErrorCode::kInvalidArgument, "cite: {} documents; expected two or more", documents.size());
  if (question.empty()) fail(ErrorCode::kInvalidArgument, "cite: the prompt after the documents is empty; expected a question");
  if (answer.empty()) fail(ErrorCode::kInvalidArgument, "cite: the answer has no tokens; expected at least one");
}

Json or_null(double value) { return std::isnan(value) ? Json() : Json(value); }

}  // namespace

DocumentPrompt document_prompt(const std::vector<Document>& documents, const std::string& question) {
  DocumentPrompt out;
  for (const Document& document : documents) {
    const auto begin = static_cast<int64_t>(out.text.size());
    out.documents.push_back({begin, begin + static_cast<int64_t>(document.text.size())});
    out.text += document.text + "\n\n";
  }
  out.text += question;
  return out;
}

void check_evidence(const Model& model) {
  const ModelInfo& info = model.info();
  if (info.has_causal && reads_one_text(info) && !classifies(info) && info.takes_positions) return;
  fail(ErrorCode::kUnsupported,
       "{}: cite needs a decoder-only model that continues a text, and this model is of type \"{}\"; use clearhead why with --segments, "
       "which explains an answer of any model by named sections of its text",
       info.name, info.model_type);
}

Evidence evidence_of(const std::shared_ptr<const Model>& model, const std::vector<Document>& documents, const std::string& question,
                     const std::vector<int32_t>& answer, const Method& method, const EvidenceOptions& options) {
  check_evidence(*model);
  check_arguments(documents, question, answer);
  const DocumentPrompt prompt = document_prompt(documents, question);
  const Encoding encoding = model->tokenizer().encode(prompt.text);
  const auto prompt_tokens = static_cast<int64_t>(encoding.size());
  const std::unique_ptr<AttributionTarget> whole = make_target(model, encoding, {.target_ids = answer});
  const std::vector<Range> ranges = tokens_of_documents(*whole, encoding, prompt, documents);
  const auto removable = static_cast<double>(whole->items().size());

  Evidence out{.method = method.name};
  std::vector<std::string> texts;
  for (size_t at = 0; at < documents.size(); ++at) {
    out.documents.push_back(documents[at].name);
    out.expected.push_back(static_cast<double>(ranges[at].size()) / removable);
    texts.push_back(documents[at].text);
  }
  whole->set_items(ranges);
  const std::vector<double> log_probabilities = whole->log_probabilities({DocumentSet(documents.size())}, RemovedBy::kUnseen)[0];
  out.sentences = sentences_of_answer(model->tokenizer(), answer, log_probabilities);

  Rows words;
  for (const EvidenceSentence& sentence : out.sentences) {
    check_cancelled_by(options);
    Encoding before = encoding;  // the prompt and the sentences before this one
    for (const int32_t id : part(answer, 0, sentence.tokens.begin)) {
      before.ids.push_back(id);
      before.type_ids.push_back(0);
      before.offsets.push_back({0, 0});
      before.segment.push_back(0);
    }
    const std::unique_ptr<AttributionTarget> target = make_target(
        model, before,
        {.target_ids = part(answer, sentence.tokens.begin, sentence.tokens.end), .sums_logits = true, .prompt_tokens = prompt_tokens});
    add_shares(out, *target, method, ranges, prompt_tokens, options);
    words.push_back(bm25(sentence.text, texts));
    if (options.progress) options.progress(static_cast<double>(words.size()) / static_cast<double>(out.sentences.size() + 1));
  }

  std::vector<DocumentSet> each(documents.size(), DocumentSet(documents.size()));
  for (size_t at = 0; at < documents.size(); ++at) each[at][at] = 1;
  out.drops = drops_of(*whole, out.sentences, each, options);
  MeasuredRemovals removals{random_document_sets(documents.size(), static_cast<size_t>(options.removals), options.seed)};
  removals.drops = drops_of(*whole, out.sentences, removals.sets, options);
  out.shares_trust = datamodeling_score({out.shares}, {removals}, options.seed);
  out.bm25_trust = datamodeling_score({words}, {removals}, options.seed);
  out.random_trust = random_score({removals}, options.seed);
  return out;
}

Json evidence_json(const Evidence& evidence) {
  const auto interval = [](const metrics::Interval& of) {
    return Json::object({{"mean", or_null(of.mean)}, {"low", or_null(of.low)}, {"high", or_null(of.high)}});
  };
  Json sentences = Json::array(), documents = Json::array();
  for (size_t at = 0; at < evidence.sentences.size(); ++at) {
    const EvidenceSentence& sentence = evidence.sentences[at];
    Json of = Json::array();
    for (size_t document = 0; document < evidence.documents.size(); ++document)
      of.push(Json::object({{"name", evidence.documents[document]},
                            {"share", or_null(evidence.shares[at][document])},
                            {"drop", or_null(evidence.drops[at][document])}}));
    sentences.push(Json::object({{"text", sentence.text},
                                 {"tokens", Json(Json::Array{sentence.tokens.begin, sentence.tokens.end})},
                                 {"log_probability", sentence.log_probability},
                                 {"elsewhere", or_null(evidence.elsewhere[at])},
                                 {"documents", of}}));
  }
  for (size_t document = 0; document < evidence.documents.size(); ++document)
    documents.push(Json::object({{"name", evidence.documents[document]}, {"expected", evidence.expected[document]}}));
  return Json::object({{"method", evidence.method},
                       {"sentences", sentences},
                       {"documents", documents},
                       {"trust", Json::object({{"shares", interval(evidence.shares_trust)},
                                               {"bm25", interval(evidence.bm25_trust)},
                                               {"random", interval(evidence.random_trust)}})}});
}

}  // namespace clearhead::explain
