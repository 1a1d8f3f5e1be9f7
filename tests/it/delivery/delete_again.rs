//! A delete that continues: an affiliate that an earlier attempt found by its e-mail is read again before it is changed.

use super::delete::{expected, found_before};
use super::scenario::delete;
use super::unanswered;

#[test]
fn an_affiliate_that_an_earlier_attempt_of_a_delete_found_is_read_again_before_it_is_changed() {
    let peter = || delete("peter@x.io");
    unanswered::check(&[
        (
            "another affiliate has the e-mail after too many calls: that one is disabled",
            peter(),
            "found a3y7, affiliate 7 ACTIVE email=peter@x.io, 429 ; \
             affiliate 7 ACTIVE email=new@x.io, found b2b2, affiliate 9 ACTIVE email=peter@x.io, changed",
            "search p1, get a3y7, status 7 DISABLED ; \
             get a3y7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 | forgot b2b2",
        ),
        (
            "nobody has it after a halt: nobody is overwritten",
            peter().anonymizing(),
            "found a3y7, affiliate 7 ACTIVE email=peter@x.io, 401 ; affiliate 7 ACTIVE email=new@x.io, gone",
            expected("search p1, get a3y7, BLANKS ; get a3y7, search p1 → not_found"),
        ),
        (
            "it is gone, and another affiliate has the e-mail: that one is disabled",
            peter(),
            "found a3y7, affiliate 7 ACTIVE, 429 ; gone, found b2b2, affiliate 9 ACTIVE, changed",
            "search p1, get a3y7, status 7 DISABLED ; \
             get a3y7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 | forgot a3y7, forgot b2b2",
        ),
        (
            "the search knows whom `get` does not: not done yet",
            peter(),
            "found a3y7, gone",
            "search p1, get a3y7 → retry",
        ),
        (
            "it was found, but not read, and is gone: it is searched for once more",
            peter(),
            "found a3y7, 429 ; gone, found b2b2, affiliate 9 ACTIVE, changed",
            "search p1, get a3y7 ; get a3y7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 \
             | forgot a3y7, forgot b2b2",
        ),
        (
            "the search still knows it, although `get` does not: not done yet",
            peter(),
            "found a3y7, 429 ; gone, found a3y7, gone",
            "search p1, get a3y7 ; get a3y7, search p1, get a3y7 → retry | forgot a3y7",
        ),
        (
            "it is gone, and nobody has the e-mail",
            peter(),
            "found a3y7, affiliate 7 ACTIVE, 429 ; gone, gone",
            "search p1, get a3y7, status 7 DISABLED ; get a3y7, search p1 → not_found | forgot a3y7",
        ),
        (
            "it still has the e-mail",
            peter(),
            "found a3y7, affiliate 7 ACTIVE email=peter@x.io, 429 ; affiliate 7 ACTIVE email=Peter@X.io, changed",
            "search p1, get a3y7, status 7 DISABLED ; get a3y7, status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        (
            "it has the placeholder, which an unanswered edit has sent",
            peter().anonymizing(),
            "found a3y7, affiliate 7 ACTIVE, lost ; affiliate 7 ACTIVE email=deleted-7@example.com, changed, changed",
            expected(
                "search p1, get a3y7, BLANKS ; get a3y7, BLANKS, status 7 DISABLED → anonymized a3y7 | forgot a3y7",
            ),
        ),
        (
            "once it is overwritten, only the status is left",
            peter().anonymizing(),
            "found a3y7, affiliate 7 ACTIVE, changed, 429 ; changed",
            expected(
                "search p1, get a3y7, BLANKS, status 7 DISABLED ; status 7 DISABLED → anonymized a3y7 | forgot a3y7",
            ),
        ),
        (
            "one that the userId leads to need not have the e-mail",
            delete("u1 peter@x.io").by_user_id("created a3y7", ""),
            "affiliate 7 ACTIVE email=new@x.io, 429 ; changed",
            "get a3y7, status 7 DISABLED ; status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        (
            "the same, if an earlier attempt found it",
            found_before(delete("u1 peter@x.io").by_user_id("created a3y7", "")),
            "affiliate 7 ACTIVE email=new@x.io, changed",
            "get a3y7, status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
    ]);
}
