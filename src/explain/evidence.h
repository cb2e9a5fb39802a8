// The evidence table of an answer: how much each of its sentences depends on each document of the prompt.
//
//   share    part of a document in the attribution of the sentence (explain/attribution.h), among all tokens of the prompt. The explained
//            number is the sum of the logits of the sentence's tokens; tokens with negative shares count as 0.
//   expected part of a document in the tokens of the prompt that can be removed
//   drop     log-probability of the sentence − the same if no token attends to the document
//   trust    datamodeling score of the shares, of BM25 and of random shares (evaluate/datamodeling.h)
//
// Cost: one run forward and back for each sentence with a method that needs gradients, one run without each document, and one for each
// random set; these runs are for all sentences at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/model.h"
#include "explain/attribution.h"
#include "explain/evaluate/datamodeling.h"

namespace clearhead::explain {

/// A document of the prompt. name: its title, or "document N".
struct Document {
  std::string name{}, text{};
};
/// The documents, separated by empty lines, then the question. `documents` contains the bytes of each in the text.
struct DocumentPrompt {
  std::string text{};
  std::vector<Range> documents{};
};
DocumentPrompt document_prompt(const std::vector<Document>& documents, const std::string& question);

struct EvidenceSentence {
  std::string text{};
  Range tokens{};  // of the answer
  double log_probability = 0;
};

struct Evidence {
  std::string method{};
  std::vector<std::string> documents{};  // names
  std::vector<EvidenceSentence> sentences{};
  Rows shares{}, drops{};           // [sentence][document]
  std::vector<double> elsewhere{};  // [sentence] the part of the other tokens of the prompt; NaN if no token of the prompt has a share
  std::vector<double> expected{};   // [document]
  metrics::Interval shares_trust{}, bm25_trust{}, random_trust{};
};

struct EvidenceOptions {
  int64_t removals = 32;  ///< random sets; below 3 there is no trust (NaN)
  uint64_t seed = 1;
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< throws kCancelled
};

/// Throws kUnsupported, with a command that can be used instead, unless the model is a decoder that reads one text.
void check_evidence(const Model& model);

/// The evidence of an answer, given as tokens, after a prompt. Throws kInvalidArgument for fewer than two documents, an empty question or
/// an empty answer; kNotFound for a document without a token; as check_evidence() and attribute().
Evidence evidence_of(const std::shared_ptr<const Model>& model, const std::vector<Document>& documents, const std::string& question,
                     const std::vector<int32_t>& answer, const Method& method, const EvidenceOptions& options = {});

/// The fields of Evidence.to_dict() of the Python package; NaN becomes null.
Json evidence_json(const Evidence& evidence);

/// A self-contained page that works offline: the sentences of the answer on the left, the documents on the right, and for the chosen
/// sentence its share and drop at each document.   evidence: as evidence_json(); texts: of the documents
/// Throws kFormat for fields that are missing, kInvalidArgument if the number of texts differs from that of the documents.
std::string evidence_page(const std::string& title, const Json& evidence, const std::vector<std::string>& texts);

}  // namespace clearhead::explain
