// The fields of config.json: every field of the library's classes and of published checkpoints is
// read; any other field that is set is refused by name.
#include <gtest/gtest.h>

#include "golden.h"

namespace clearhead {
namespace {

Json all_configs(const char* group) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/configs.json";
  return *Json::parse(read_file(path), path).find(group);
}

std::string refusal(const Json& config) {
  try {
    read_architecture(config, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Configs : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Groups, Configs, testing::Values("defaults", "published"), variant_name);

TEST_P(Configs, AreRead) {
  const Json configs = all_configs(GetParam());
  EXPECT_GT(configs.size(), 10U);
  for (const auto& [name, config] : configs.fields()) EXPECT_EQ(refusal(config), "") << name;
}

TEST_P(Configs, UnknownFieldsAreRefusedByNameUnlessTheyAreOff) {
  const Json configs = all_configs(GetParam());
  for (const auto& [name, config] : configs.fields()) {
    for (const char* field : {"zeta", "attention_temperature", "per_layer_config", "partial_rotary_factor"}) {
      Json changed = config;
      changed[field] = Json::parse(R"({"0": 0.5})", "test");
      EXPECT_EQ(refusal(changed).find(std::string("config.json: field \"") + field + "\" (an object) is not known for models of type"), 0U)
          << name << ": " << refusal(changed);
      for (const char* off : {"null", "false", "0", "0.0", "\"\"", "[]", "{}"}) {
        changed[field] = Json::parse(off, "test");
        EXPECT_EQ(refusal(changed), "") << name << ", " << off;
      }
    }
  }
}

TEST(Configs, ASizeThatIsGivenTwiceMustBeTheSame) {
  EXPECT_EQ(refusal_of("gpt2", "plain", R"({"hidden_size": 16, "max_position_embeddings": 40})"), "");
  EXPECT_EQ(refusal_of("gpt2", "plain", R"({"hidden_size": 8})"),
            "config.json: \"hidden_size\": 8 is not supported; expected 16 (model: gpt2)");
  EXPECT_EQ(refusal_of("distilbert", "mlm", R"({"num_hidden_layers": 1})"),
            "config.json: \"num_hidden_layers\": 1 is not supported; expected 2 (model: distilbert)");
}

}  // namespace
}  // namespace clearhead
