// A temporary folder with a recipe, its data and the runs of a test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "tasks/recipe/recipe.h"

namespace clearhead {

/// A fixture that has data overrides SetUp(), calls this one, and then writes the data and recipe.json.
class RunFolder : public testing::Test {
 protected:
  explicit RunFolder(const std::string& name)
      : folder_((std::filesystem::temp_directory_path() / ("clearhead-" + name + "-" + std::to_string(::getpid()))).string()) {}
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  tasks::Recipe recipe(std::vector<std::string> settings) const {
    settings.push_back("data=" + folder_);
    return tasks::Recipe::read(folder_ + "/recipe.json", settings);
  }
  /// The files that a run wrote, by name.
  std::map<std::string, std::string> files(const std::string& run) const {
    std::map<std::string, std::string> out;
    for (const char* name : {"checkpoint.safetensors", "best/model.safetensors", "log.csv"})
      out[name] = read_file(folder_ + "/" + run + "/" + name);
    return out;
  }

  const std::string folder_;
};

}  // namespace clearhead
