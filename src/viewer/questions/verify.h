// Verification: compares the shown weights with the oracle in double precision (api/verify).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

struct VerifyLook {
  std::string family{};
  std::vector<std::pair<int, int64_t>> heads{};
  std::vector<Range> rows{}, keys{};
  WeightKind weight = WeightKind::kRaw;
};

namespace questions {

/// The largest difference, and the error bound of a correct f32 computation, over at most 64 rows of each head.
Json verify(LoadedTrace& loaded, const VerifyLook& look, const LookOptions& options = {});

}  // namespace questions
}  // namespace clearhead::viewer
