// Real programs work in the folder while another host watches.
#include <gtest/gtest.h>

#include "lab.h"

namespace btfc::cluster {
namespace {

class ApplicationsTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(2);
    ASSERT_TRUE(lab_->StartAll());
  }
  // Runs in the first host's folder.
  void Run(const std::string& script) {
    const auto done = Shell("set -e; export HOME=" + (*lab_)[0].folder().native() + "; cd '" +
                            (*lab_)[0].mount().native() + "'; " + script);
    ASSERT_EQ(0, done.code) << script << "\n" << done.output;
  }
  std::unique_ptr<Lab> lab_;
};

TEST_F(ApplicationsTest, Git) {
  Run("git config --global user.name tester; git config --global user.email tester@example.org; "
      "git config --global init.defaultBranch main; git config --global safe.directory '*'; "
      "git init -q project; cd project; for i in $(seq 200); do echo $i > f$i; done; "
      "git add .; git commit -qm one; for i in $(seq 50); do echo more >> f$i; done; "
      "git commit -qam two; git gc -q; git fsck --strict; git status --porcelain | wc -l | grep "
      "-qx 0; "
      "cd ..; git clone -q project copy; cd copy; git log --oneline | wc -l | grep -qx 2");
  ASSERT_TRUE(lab_->EventuallyEqual());
  const auto there =
      Shell("export HOME=" + (*lab_)[0].folder().native() + "; cd '" +
            ((*lab_)[1] / "project").native() + "' && git fsck --strict && git log --oneline");
  EXPECT_EQ(0, there.code) << there.output;
}

TEST_F(ApplicationsTest, SqliteInWalMode) {
  Run("sqlite3 data.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);'; "
      "for i in $(seq 60); do sqlite3 data.db \"INSERT INTO t(b) VALUES('row $i')\"; done; "
      "sqlite3 data.db 'PRAGMA integrity_check; SELECT count(*) FROM t;' | tail -1 | grep -qx 60");
  ASSERT_TRUE(lab_->EventuallyEqual());
  const auto there = Shell("sqlite3 'file:" + ((*lab_)[1] / "data.db").native() +
                           "?immutable=1' 'SELECT count(*) FROM t'");
  EXPECT_EQ("60\n", there.output);
}

TEST_F(ApplicationsTest, TarAndRsyncRoundTrips) {
  Run("mkdir -p $HOME/source/d/e; cd $HOME/source; for i in $(seq 300); do echo $i > d/f$i; done; "
      "ln d/f1 d/e/hard; ln -s ../d/f2 d/e/soft; chmod 2750 d/e; touch -d '2001-02-03 "
      "04:05:06.789' d/f3; "
      "setfattr -n user.x -v y d/f4; setfacl -m u:1:r d/f5; truncate -s 5M d/sparse; "
      "printf end >> d/sparse; chown 1:2 d/f6; mkfifo d/fifo");
  Run("rsync -aHAX $HOME/source/ rsynced/; rsync -aHAXn --delete --itemize-changes $HOME/source/ "
      "rsynced/ "
      "| wc -l | grep -qx 0; tar -C $HOME/source --acls --xattrs -cf packed.tar d; mkdir unpacked; "
      "tar -C unpacked --acls --xattrs -xpf packed.tar; "
      "rsync -aHAXnc --delete --itemize-changes $HOME/source/d/ unpacked/d/");
  ASSERT_TRUE(lab_->EventuallyEqual());
  const auto there = Shell("rsync -aHAXnc --delete --itemize-changes '" +
                           ((*lab_)[0].folder() / "source").native() + "/' '" +
                           ((*lab_)[1] / "rsynced").native() + "/'");
  EXPECT_EQ("", there.output);
}

TEST_F(ApplicationsTest, ABuild) {
  Run("mkdir project; cd project; "
      "for i in 1 2 3 4 5; do printf 'int f%d(int x) { return x + %d; }\\n' $i $i > f$i.c; done; "
      "printf 'int f1(int); int f5(int);\\nint main(void) { return f1(f5(-6)); }\\n' > main.c; "
      "printf 'OBJECTS=main.o f1.o f2.o f3.o f4.o f5.o\\nprogram: $(OBJECTS)\\n\\tcc -o $@ "
      "$(OBJECTS)\\n' "
      "> Makefile; make -s -j2; ./program; touch f1.c; make -q || make -s; ./program");
  ASSERT_TRUE(lab_->EventuallyEqual());
  EXPECT_EQ(0, Shell("'" + ((*lab_)[1] / "project/program").native() + "'").code);
}

}  // namespace
}  // namespace btfc::cluster
