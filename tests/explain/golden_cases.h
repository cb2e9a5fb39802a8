// The cases of tests/goldens/attribution.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

inline const std::string kGoldens = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/";

inline Json golden_file() { return Json::parse(read_file(kGoldens + "attribution.json"), kGoldens + "attribution.json"); }
inline std::vector<Json> golden_cases() { return golden_file().find("cases")->items(); }

inline Encoding encoding_of(const Json& ids) {
  Encoding out;
  for (const Json& id : ids.items()) {
    out.ids.push_back(static_cast<int32_t>(id.integer()));
    out.type_ids.push_back(0);
    out.offsets.push_back({0, 0});
    out.segment.push_back(0);
  }
  return out;
}

/// The attribution target for the golden's ids, with the model of the golden's folder or the given one.
inline std::unique_ptr<AttributionTarget> golden_subject(const Json& golden, std::shared_ptr<const Model> model = nullptr) {
  if (!model) model = load(kGoldens + golden.find("folder")->string(), {.tokenizer = false, .gradients = true});
  std::optional<Encoding> written;
  if (const Json* before = golden.find("written")) written = encoding_of(*before);
  return make_target(model, encoding_of(*golden.find("ids")), {.target_ids = {static_cast<int32_t>(golden.find("of")->integer())}},
                     written);
}

}  // namespace clearhead::explain
