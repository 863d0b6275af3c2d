package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This test program is the keeper, too: when its first argument is a command of the keeper.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func keeper(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self, arguments...)
}

func record(name, value string) string {
	return name + " " + strconv.Itoa(len(value)) + "\n" + value + "\n"
}

func jobText(line string, more ...string) string {
	return record("line", line) + record("timeout", "30") + record("label", "a job") + strings.Join(more, "")
}

// runKeeper runs the keeper to its end and returns its standard output.
func runKeeper(t *testing.T, input string, arguments ...string) string {
	t.Helper()
	made := keeper(t, arguments...)
	made.Stdin = strings.NewReader(input)
	var errs bytes.Buffer
	made.Stderr = &errs
	out, err := made.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", arguments, err, errs.String())
	}
	return string(out)
}

// startKeeper starts the keeper and returns while it runs.
func startKeeper(t *testing.T, input string, arguments ...string) (*exec.Cmd, *os.File) {
	t.Helper()
	made := keeper(t, arguments...)
	made.Stdin = strings.NewReader(input)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	made.Stdout = write
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() { made.Process.Kill(); made.Wait(); read.Close() })
	return made, read
}

// stream returns the bytes of one stream in an answer, without the heads of its frames.
func stream(answer, kind string) string {
	text := ""
	for answer != "" {
		head, rest, _ := strings.Cut(answer, "\n")
		fields := strings.Fields(head)
		length, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil || length > len(rest) {
			return text + "<cut off>"
		}
		if fields[0] == kind {
			text += rest[:length]
		}
		answer = rest[length:]
	}
	return text
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for began := time.Now(); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

func TestBothStreamsInputAndExitStatusOfTheCommandComeBack(t *testing.T) {
	root := t.TempDir()
	input := jobText("echo out; echo err >&2; cat; exit 7", record("input", "given"))
	answer := runKeeper(t, input, "run", root, "job", "me")
	if stream(answer, "o") != "out\ngiven" || stream(answer, "e") != "err\n" {
		t.Fatal(answer)
	}
	end, ok := parseStatus(strings.TrimPrefix(stream(answer, "x"), "told first\n"))
	if !ok || end.how != "exit" || end.code != 7 || end.label != "a job" {
		t.Fatal(answer)
	}
	if !strings.HasPrefix(stream(answer, "h"), "way started\n") {
		t.Fatal(answer)
	}
}

func TestEnvironmentReachesTheCommandAndNoFile(t *testing.T) {
	root := t.TempDir()
	t.Setenv("TAKEN_AWAY", "x")
	input := jobText(`test "$TOKEN" = s3cret-token && echo right; echo "[$TAKEN_AWAY]"; cat > /dev/null`,
		record("environment", "TOKEN=s3cret-token"), record("environment", "TAKEN_AWAY="), record("input", "s3cret-input"))
	answer := runKeeper(t, input, "run", root, "job", "me")
	if stream(answer, "o") != "right\n[]\n" {
		t.Fatal(answer)
	}
	filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte("s3cret")) {
			t.Errorf("%s holds it", path)
		}
		return nil
	})
}

func TestASecretThatTheCommandPrintsIsMasked(t *testing.T) {
	root := t.TempDir()
	line := `printf 'fatal: https://u:tok'; sleep 0.2; printf 'en-1@host\nlast token-1'`
	answer := runKeeper(t, jobText(line, record("secret", "token-1")), "run", root, "job", "me")
	if stream(answer, "o") != "fatal: https://u:***@host\nlast ***" {
		t.Fatal(answer)
	}
	log, _ := filepath.Glob(filepath.Join(root, "job", "log-*"))
	if data, _ := os.ReadFile(log[0]); bytes.Contains(data, []byte("token-1")) {
		t.Fatal(string(data))
	}
}

func TestAJobOutlivesItsFirstFollowerAndNoLineIsLostOrDoubled(t *testing.T) {
	root := t.TempDir()
	wanted := "1\n2\n3\n4\n5\n6\n7\n8\n"
	first, out := startKeeper(t, jobText("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.15; done"), "run", root, "job", "me")
	buffer := make([]byte, 4096)
	got := ""
	for !strings.Contains(stream(got, "o"), "3") {
		count, err := out.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buffer[:count])
	}
	first.Process.Kill()
	first.Wait()
	time.Sleep(200 * time.Millisecond)
	begun, _ := parseStatus(strings.TrimPrefix(stream(got, "h"), "way started\n"))
	start := strings.Index(got, "reason \n") + len("reason \n")
	offset := len(got) - start
	rest := runKeeper(t, "", "follow", root, "job", "me", begun.instance, strconv.Itoa(offset))
	if text := stream(got[start:]+rest, "o"); text != wanted {
		t.Fatalf("%q", text)
	}
}

func TestASecondRequestFollowsTheFirstOnesJobFromItsStart(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	line := "echo began >> " + file + "; echo one; sleep 0.6; echo two"
	_, _ = startKeeper(t, jobText(line), "run", root, "job", "me")
	eventually(t, "the job begins", func() bool { data, _ := os.ReadFile(file); return len(data) > 0 })
	answer := runKeeper(t, jobText(line), "run", root, "job", "me")
	if stream(answer, "o") != "one\ntwo\n" || !strings.HasPrefix(stream(answer, "h"), "way joined\n") {
		t.Fatal(answer)
	}
	if data, _ := os.ReadFile(file); string(data) != "began\n" {
		t.Fatalf("it ran more than once: %q", data)
	}
}

func TestTenRequestsAtOnceGetOneJob(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	answers := make(chan string, 10)
	for i := 0; i < 10; i++ {
		go func() {
			made := keeper(t, "run", root, "job", "me")
			made.Stdin = strings.NewReader(jobText("echo began >> " + file + "; sleep 1; echo done"))
			out, _ := made.CombinedOutput()
			answers <- stream(string(out), "o")
		}()
	}
	for i := 0; i < 10; i++ {
		if answer := <-answers; answer != "done\n" {
			t.Errorf("%q", answer)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != "began\n" {
		t.Fatalf("%q", data)
	}
}

func TestAnotherControllersJobThatEndedMeanwhileIsFollowed(t *testing.T) {
	job := folder{t.TempDir(), "job"}
	os.Mkdir(job.path("."), 0o700)
	held, err := lock(job.path("lock"), true) // the other watcher
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() {
		job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
		held.Close()
	})
	found, way, code := start(job, []byte(jobText("echo twice > "+job.path("twice"))), "")
	if code != exitOK || way != "joined" || found.instance != "1-other" {
		t.Fatal(found, way, code)
	}
}

func TestAWatcherThatComesAfterAnotherOnesJobDoesNotRunItAgain(t *testing.T) {
	job := folder{t.TempDir(), "job"}
	os.Mkdir(job.path("."), 0o700)
	job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
	ran := filepath.Join(t.TempDir(), "ran")
	for last, runs := range map[string]bool{"": false, "1-before": false, "1-other": true} {
		job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
		os.Remove(ran)
		made := keeper(t, "serve", job.jobs, job.id, last)
		made.Stdin = strings.NewReader(jobText("touch " + ran))
		made.Run()
		if _, err := os.Stat(ran); (err == nil) != runs {
			t.Errorf("last %q: ran %v", last, err == nil)
		}
	}
}

func TestOnAFullDiskTheEndOfAJobIsReportedWhateverItPrinted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk of its own needs root")
	}
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) })
	// Short lines, each a frame of its own, fill the pending output to its very limit.
	line := "cd " + root + "; cat /dev/zero > full 2>/dev/null; i=0; while [ $i -lt 9000 ]; do echo no space left on device $i; i=$((i+1)); done; exit 3"
	answer := runKeeper(t, jobText(line), "run", root, "job", "me")
	if !strings.Contains(stream(answer, "x"), "how exit\ncode 3\n") || !strings.Contains(stream(answer, "o"), "no space left on device 100\n") {
		t.Fatal(stream(answer, "x"))
	}
}

func TestAResultWithoutAProductIsTakenOnceOnly(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	input := jobText("echo vetted >> " + file)
	runKeeper(t, input, "run", root, "job", "me")
	os.Remove(filepath.Join(root, "job", "taken")) // its end was reported to nobody
	for _, way := range []string{"way taken\n", "way started\n"} {
		if answer := runKeeper(t, input, "run", root, "job", "me"); !strings.HasPrefix(stream(answer, "h"), way) {
			t.Fatal(answer)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != "vetted\nvetted\n" {
		t.Fatalf("%q", data)
	}
}

func TestAProductThatNobodyHasHandledIsTakenWithItsOutput(t *testing.T) {
	root, product := t.TempDir(), filepath.Join(t.TempDir(), "product")
	input := jobText("echo made; touch "+product, record("product", product))
	first, _ := startKeeper(t, input, "run", root, "job", "me")
	eventually(t, "the product", func() bool { _, err := os.Stat(product); return err == nil })
	first.Process.Kill() // as its controller would be
	first.Wait()
	job := folder{root, "job"}
	eventually(t, "the end", func() bool { found, ok := job.read(); return ok && found.state == "ended" })
	os.Remove(job.path("taken"))
	for follower, report := range map[string]string{"a": "told first\n", "b": "told before\n"} {
		if follower == "b" { // in whatever order the map is iterated, and again over another connection
			runKeeper(t, input, "run", root, "job", "a")
		}
		answer := runKeeper(t, input, "run", root, "job", follower)
		if !strings.HasPrefix(stream(answer, "h"), "way taken\n") || stream(answer, "o") != "made\n" || !strings.HasPrefix(stream(answer, "x"), report) {
			t.Fatal(answer)
		}
	}
	os.Remove(product) // a run has put it in place
	if answer := runKeeper(t, input, "run", root, "job", "me"); !strings.HasPrefix(stream(answer, "h"), "way started\n") {
		t.Fatal("taken although its product is gone: " + answer)
	}
}

func TestAFailureIsNeverTakenForAResult(t *testing.T) {
	root := t.TempDir()
	runKeeper(t, jobText("exit 1"), "run", root, "job", "me")
	os.Remove(filepath.Join(root, "job", "taken"))
	if answer := runKeeper(t, jobText("exit 1"), "run", root, "job", "me"); !strings.HasPrefix(stream(answer, "h"), "way started\n") {
		t.Fatal(answer)
	}
}

// nap is a command that takes long, distinct from those of other runs of these tests on this machine.
func nap(number int) string { return "sleep " + strconv.Itoa(number) + "." + strconv.Itoa(os.Getpid()) }

// napping is pgrep's pattern for it, which does not match itself.
func napping(number int) string { return strings.Replace(nap(number), ".", "[.]", 1) }

func processes(number int) int {
	out, _ := exec.Command("pgrep", "-fc", napping(number)).Output()
	count, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	return count
}

func TestTimeoutEndsEveryProcess(t *testing.T) {
	root := t.TempDir()
	line := "echo begun; (setsid " + nap(7711) + " &) ; env -i " + nap(7711) + " & " + nap(7711)
	input := record("line", line) + record("timeout", "0.4")
	answer := runKeeper(t, input, "run", root, "job", "me")
	if stream(answer, "o") != "begun\n" || !strings.Contains(stream(answer, "x"), "how timeout\n") {
		t.Fatal(answer)
	}
	if left := processes(7711); left != 0 {
		t.Fatalf("%d left", left)
	}
}

func TestCancelEndsEveryProcessAndIsReportedToTheFollower(t *testing.T) {
	root := t.TempDir()
	_, out := startKeeper(t, jobText("(setsid "+nap(7722)+" &) ; "+nap(7722)), "run", root, "job", "me")
	eventually(t, "the job begins", func() bool { return processes(7722) >= 2 })
	if printed := runKeeper(t, "", "list", root); !strings.HasPrefix(printed, "@job\tjob\trunning\t") {
		t.Fatal(printed)
	}
	printed := runKeeper(t, "", "cancel", root, "all")
	if !strings.HasPrefix(printed, "@job\tjob\tended\tcancelled\t") || !strings.HasSuffix(printed, "\ta job\n") {
		t.Fatal(printed)
	}
	if left := processes(7722); left != 0 {
		t.Fatalf("%d left", left)
	}
	answer, _ := readAll(out)
	if !strings.Contains(stream(string(answer), "x"), "how cancelled\n") {
		t.Fatal(string(answer))
	}
	if printed := runKeeper(t, "", "cancel", root, "all"); printed != "" {
		t.Fatal("there was nothing left to cancel: " + printed)
	}
}

func TestAWatcherThatDoesNotRespondIsEndedAllTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the ten seconds that a watcher has")
	}
	root := t.TempDir()
	_, _ = startKeeper(t, jobText(nap(7744)), "run", root, "job", "me")
	job := folder{root, "job"}
	eventually(t, "the job begins", func() bool { return processes(7744) > 0 })
	found, _ := job.read()
	syscall.Kill(found.pid, syscall.SIGSTOP)
	printed := runKeeper(t, "", "cancel", root, "job")
	if !strings.HasPrefix(printed, "@job\tjob\tended\tdead\t") || processes(7744) != 0 {
		t.Fatal(printed)
	}
}

func TestADeadWatcherIsReportedAsSuchAndItsProcessesAreGoneBeforeTheNextStart(t *testing.T) {
	root := t.TempDir()
	_, out := startKeeper(t, jobText("sh -c '"+nap(7733)+"; true'; true"), "run", root, "job", "me")
	job := folder{root, "job"}
	eventually(t, "the job begins", func() bool { return processes(7733) > 0 })
	found, _ := job.read()
	syscall.Kill(found.pid, syscall.SIGKILL)
	answer, _ := readAll(out)
	if !strings.Contains(stream(string(answer), "x"), "how dead\n") {
		t.Fatal(string(answer))
	}
	again := runKeeper(t, jobText("pgrep -fc '"+napping(7733)+"'; true"), "run", root, "job", "me")
	if stream(again, "o") != "0\n" {
		t.Fatal(again)
	}
}

func TestProcessesThatACommandLeavesBehindEndWithIt(t *testing.T) {
	root := t.TempDir()
	began := time.Now()
	answer := runKeeper(t, jobText(nap(7755)+" & echo done"), "run", root, "job", "me")
	if stream(answer, "o") != "done\n" || time.Since(began) > 5*time.Second || processes(7755) != 0 {
		t.Fatal(answer)
	}
}

func TestOldJobsArePrunedAndLivingOnesStay(t *testing.T) {
	root := t.TempDir()
	_, _ = startKeeper(t, jobText("sleep 5"), "run", root, "living", "me")
	living := folder{root, "living"}
	eventually(t, "the job begins", func() bool { return living.alive() })
	for number := 0; number < keepAtMost+5; number++ {
		job := folder{root, "old" + strconv.Itoa(number)}
		os.Mkdir(job.path("."), 0o700)
		started := time.Now().Add(-time.Duration(number+1) * time.Minute)
		job.write(status{instance: "1-1", pid: 1, state: "ended", how: "exit", started: started, ended: started})
	}
	ancient := folder{root, "ancient"}
	os.Mkdir(ancient.path("."), 0o700)
	ancient.write(status{instance: "1-1", pid: 1, state: "ended", how: "exit", started: time.Now().Add(-keepFor - time.Hour)})
	prune(root, "new", time.Now())
	left := jobs(root)
	if len(left) != keepAtMost || !living.alive() {
		t.Fatalf("%d left: %v", len(left), left)
	}
	if _, err := os.Stat(ancient.path(".")); err == nil {
		t.Fatal("the ancient one is still there")
	}
}

func TestOnlyUnusedOutputsAreRemovedAndOnlyAfterADay(t *testing.T) {
	builder := t.TempDir()
	root, tmp := filepath.Join(builder, "jobs"), filepath.Join(builder, "tmp")
	product := record("product", filepath.Join(tmp, "build-alive", "program"))
	_, _ = startKeeper(t, jobText(nap(7766), product), "run", root, "living", "me")
	eventually(t, "the job begins", func() bool { return processes(7766) > 0 })
	t.Cleanup(func() { runKeeper(t, "", "cancel", root, "all") })
	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{"build-old", "build-alive", "build-young", "generated-old", "unpack-old"} {
		os.MkdirAll(filepath.Join(tmp, name), 0o700)
		os.WriteFile(filepath.Join(tmp, name, "program"), nil, 0o600)
		if name != "build-young" {
			os.Chtimes(filepath.Join(tmp, name), old, old)
		}
	}
	runKeeper(t, jobText("true"), "run", root, "next", "me")
	var left []string
	entries, _ := os.ReadDir(tmp)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if strings.Join(left, " ") != "build-alive build-young unpack-old" {
		t.Fatal(left)
	}
}

func TestRequestsAreParsedWholeOrNotAtAll(t *testing.T) {
	whole := jobText("echo hi", record("environment", "A=1\nB"), record("input", "\x00\n"))
	found, err := parseRequest([]byte(whole))
	if err != nil || found.line != "echo hi" || found.environment[0] != "A=1\nB" || string(found.input) != "\x00\n" {
		t.Fatal(found, err)
	}
	for cut := 0; cut < len(whole); cut++ {
		part, err := parseRequest([]byte(whole[:cut]))
		if err == nil && (part.line != "echo hi" || part.timeout == 0) {
			t.Fatalf("cut off at %d it was taken: %q", cut, whole[:cut])
		}
	}
	for _, wrong := range []string{"", "line x\n", record("timeout", "0") + record("line", "x"), jobText("x", record("unknown", "x"))} {
		if _, err := parseRequest([]byte(wrong)); err == nil {
			t.Errorf("taken: %q", wrong)
		}
	}
}

func TestNamesOfJobsStayInTheirFolder(t *testing.T) {
	for _, wrong := range []string{"", ".", "..", "all", "a/b", `a\b`, "a b", "ü", strings.Repeat("x", 101)} {
		if validID(wrong) {
			t.Errorf("taken: %q", wrong)
		}
	}
	if !validID("hello-linux_amd64-1a2b.3") {
		t.Error("refused")
	}
}

func TestVariablesOfAJobLieOverTheSessions(t *testing.T) {
	made := environment([]string{"PATH=/bin", "HOME=/root", "=C:=C:\\x"}, []string{"PATH=/go/bin", "HOME=", "NEW=a=b"})
	if strings.Join(made, "|") != "PATH=/go/bin|=C:=C:\\x|NEW=a=b" {
		t.Fatal(made)
	}
}
