// Lists the files of class folders, and reads them.
#include "tasks/data/class_folder.h"

#include <algorithm>
#include <filesystem>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_picture.h"
#include "tasks/data/text_data.h"
#include "tasks/examples/pictures.h"
#include "text/unicode.h"

namespace clearhead::tasks {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// The entries of a folder that are not hidden, sorted by name. Throws kIo if the folder cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code problem;
  std::vector<fs::path> out;
  for (fs::directory_iterator at(folder, problem), end; !problem && at != end; at.increment(problem)) {
    if (!is_hidden(at->path())) out.push_back(at->path());
  }
  if (problem) fail(ErrorCode::kIo, "{}: the folder cannot be read: {}", folder.string(), problem.message());
  std::sort(out.begin(), out.end());
  return out;
}

// Adds the files of a folder and of the folders in it, except those behind symbolic links to folders, which may form a cycle.
void add_files(const fs::path& folder, std::vector<std::string>& to) {
  for (const fs::path& path : entries_of(folder)) {
    if (!fs::is_directory(path)) {
      to.push_back(path.string());
    } else if (!fs::is_symlink(path)) {
      add_files(path, to);
    }
  }
}

}  // namespace

std::vector<LabelledInput> read_class_folder(const std::string& folder, const Recipe& recipe, const char* what,
                                             const std::function<ModelInput(const std::string& path)>& read) {
  const std::string root = existing_path(recipe.source, folder);
  if (!fs::is_directory(root))
    fail(ErrorCode::kFormat, "{}: is a file; expected a folder that contains one subfolder of {}s for each class", root, what);
  const std::vector<fs::path> classes = entries_of(root);
  if (std::none_of(classes.begin(), classes.end(), [](const fs::path& path) { return fs::is_directory(path); })) {
    fail(ErrorCode::kFormat, "{}: has no subfolders; expected a subfolder with the {}s of each class, as in {}/cat/1", root, what, root);
  }
  std::vector<LabelledInput> out;
  for (const fs::path& path : classes) {
    if (!fs::is_directory(path)) {
      fail(ErrorCode::kFormat, "{}: expected only class folders in {}, found a file; move it into the folder of its class, or out of {}",
           path.string(), root, root);
    }
    const std::string label = path.filename().string();
    if (text::replace_invalid(label) != label)
      fail(ErrorCode::kFormat, "{}: the name of a class folder is not UTF-8; rename it", path.string());
    std::vector<std::string> files;
    add_files(path, files);
    if (files.empty()) {
      fail(ErrorCode::kFormat, "{}: the class folder has no files; expected one {} or more. Add some, or remove the folder", path.string(),
           what);
    }
    for (const std::string& file : files) {
      try {
        out.push_back({.input = read(file), .label = label, .where = file});
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kFormat) throw;
        fail(ErrorCode::kFormat, "{}. Every file in a class folder must be a {}; remove other files", error.what(), what);
      }
    }
  }
  return out;
}

const PictureForm& picture_folder() {
  static const PictureForm form = {
      .name = "folder",
      .meaning = "\"train\", \"valid\" and \"test\" are folders with one subfolder of PNG and JPEG files for each class",
      .read = [](const std::string& folder, const Recipe& recipe, const PictureRecipe&, const PictureFacts& size) {
        return read_class_folder(folder, recipe, "picture",
                                 [&](const std::string& path) { return ModelInput{.picture = read_picture(size, path)}; });
      }};
  return form;
}

}  // namespace clearhead::tasks
