#include "index/conflict_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "index/catalogue.h"

namespace btfc::index {
namespace {

constexpr std::string_view kOpening = " (conflict ";
constexpr std::size_t kExtensionMax = 16;  // bytes, with the dot
constexpr std::size_t kHostMax = 64;       // bytes
constexpr std::size_t kIdDigits = 6;
constexpr std::size_t kDateSize = 10;

// No more than `size` bytes, and no half UTF-8 character at the end.
std::string_view Cut(std::string_view text, std::size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  return text.substr(0, size);
}

// Where "(conflict ...)" stands in a name, with the space before it; empty if nowhere.
std::string_view FindSuffix(std::string_view name) {
  const std::size_t begin = name.rfind(kOpening);
  if (begin == std::string_view::npos || begin == 0) return {};
  const std::size_t end = name.find(')', begin);
  if (end == std::string_view::npos) return {};
  const std::string_view suffix = name.substr(begin, end + 1 - begin);
  if (suffix.size() < kOpening.size() + 1 + kDateSize + 1 + kIdDigits + 1) return {};
  const std::string_view id = suffix.substr(suffix.size() - 1 - kIdDigits, kIdDigits);
  const bool hex = std::all_of(id.begin(), id.end(), [](char c) {
    return std::isxdigit(static_cast<unsigned char>(c)) != 0;
  });
  if (!hex || suffix[suffix.size() - kIdDigits - 2] != '-') return {};
  return suffix;
}

// Civil date of a day since 1970-01-01, proleptic Gregorian; eras of 400 years from 1 March 0000.
std::string Date(std::int64_t time_ns) {
  constexpr std::int64_t kDayNs = 86400LL * 1000000000LL;
  std::int64_t days = time_ns / kDayNs;
  if (time_ns % kDayNs < 0) --days;
  days += 719468;  // from 0000-03-01 to 1970-01-01
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const std::int64_t day_of_era = days - era * 146097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const std::int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return fmt::format("{:04}-{:02}-{:02}", year, month, day);
}

std::string Clean(std::string_view host) {
  std::string clean(Cut(host, kHostMax));
  for (char& c : clean) {
    if (c == '/' || c == '\0' || c == '(' || c == ')') c = '-';
  }
  return clean.empty() ? "-" : clean;
}

}  // namespace

std::string ConflictName(std::string_view name, std::string_view host, std::int64_t time_ns,
                         std::string_view id) {
  std::string plain(name);
  if (const std::string_view suffix = FindSuffix(name); !suffix.empty()) {
    plain.erase(static_cast<std::size_t>(suffix.data() - name.data()), suffix.size());
  }
  std::string extension;
  const std::size_t dot = plain.rfind('.');
  if (dot != std::string::npos && dot != 0 && plain.size() - dot <= kExtensionMax) {
    extension = plain.substr(dot);
    plain.resize(dot);
  }
  const std::string suffix = fmt::format("{}{} {}-{})", kOpening, Clean(host), Date(time_ns), id);
  const std::string_view stem = Cut(plain, kNameMax - suffix.size() - extension.size());
  return std::string(stem) + suffix + extension;
}

bool IsConflictName(std::string_view name) { return !FindSuffix(name).empty(); }

}  // namespace btfc::index
