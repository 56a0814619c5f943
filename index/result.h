// Errors as values, for the whole project.
#pragma once

#include <boost/outcome/std_result.hpp>
#include <boost/outcome/try.hpp>
#include <system_error>
#include <utility>

namespace btfc {

// A value or a std::error_code. What an application may see is in
// std::generic_category() (an errno); what only btfc itself tells apart is a
// btfc::Error. SQLite's and libtorrent's own codes never leave their folder.
template <class T>
using Result = boost::outcome_v2::std_result<T>;

// Returns the failure of a Result<T> expression from the enclosing function, else names its value:
// BTFC_TRY(node, catalogue.Get(ino)); BOOST_OUTCOME_TRYV does it for Result<void>. (Boost's own
// macro for values changed its syntax between Debian 12's and 13's version.)
// NOLINTBEGIN(bugprone-macro-parentheses): `name` is declared, not evaluated.
#define BTFC_TRY(name, expression)                               \
  auto name##_or_failure = (expression);                         \
  if (!name##_or_failure) return name##_or_failure.as_failure(); \
  auto&& name = std::move(name##_or_failure).assume_value()
// NOLINTEND(bugprone-macro-parentheses)
inline boost::outcome_v2::success_type<void> Ok() { return boost::outcome_v2::success(); }

enum class Error {
  kCorrupt = 1,   // a stored or received byte string does not parse or contradicts itself
  kTooNew,        // written by a newer version of btfc
  kOtherCluster,  // belongs to a cluster with another key
  kNotCovered,    // a delta starts after what this host knows; ask again from here
  kStorage,       // SQLite or the disk below it failed
  kCancelled,     // the caller gave up
  kUnavailable,   // nobody who could deliver is reachable
};

std::error_code make_error_code(Error error) noexcept;

// The errno that an application gets for any code; EIO for what has no better one.
int ToErrno(const std::error_code& code) noexcept;

// errno as an error_code.
inline std::error_code Errno(int number) noexcept { return {number, std::generic_category()}; }

}  // namespace btfc

template <>
struct std::is_error_code_enum<btfc::Error> : std::true_type {};
