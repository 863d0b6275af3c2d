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

// The helper itself is this test program: started with a word of its own it is the helper.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func helper(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self, words...)
}

func record(name, value string) string {
	return name + " " + strconv.Itoa(len(value)) + "\n" + value + "\n"
}

func asked(line string, more ...string) string {
	return record("line", line) + record("timeout", "30") + record("label", "a job") + strings.Join(more, "")
}

// ask runs the helper to its end: what it printed.
func ask(t *testing.T, input string, words ...string) string {
	t.Helper()
	made := helper(t, words...)
	made.Stdin = strings.NewReader(input)
	var errs bytes.Buffer
	made.Stderr = &errs
	out, err := made.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", words, err, errs.String())
	}
	return string(out)
}

// begin starts the helper and leaves it at work.
func begin(t *testing.T, input string, words ...string) (*exec.Cmd, *os.File) {
	t.Helper()
	made := helper(t, words...)
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

// said is the output of the command: the bytes of one stream, frames taken apart.
func said(answer, stream string) string {
	text := ""
	for answer != "" {
		head, rest, _ := strings.Cut(answer, "\n")
		fields := strings.Fields(head)
		length, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil || length > len(rest) {
			return text + "<cut off>"
		}
		if fields[0] == stream {
			text += rest[:length]
		}
		answer = rest[length:]
	}
	return text
}

// logged is the part of an answer that is the log: without the first and the last frame.
func logged(answer string) string {
	start := strings.Index(answer, "reason \n") + len("reason \n")
	return answer[start:strings.LastIndex(answer, "x ")]
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
	input := asked("echo out; echo err >&2; cat; exit 7", record("input", "given"))
	answer := ask(t, input, "run", root, "job", "me")
	if said(answer, "o") != "out\ngiven" || said(answer, "e") != "err\n" {
		t.Fatal(answer)
	}
	end, ok := parseStatus(strings.TrimPrefix(said(answer, "x"), "told first\n"))
	if !ok || end.how != "exit" || end.code != 7 || end.label != "a job" {
		t.Fatal(answer)
	}
	if !strings.HasPrefix(said(answer, "h"), "way started\n") {
		t.Fatal(answer)
	}
}

func TestEnvironmentReachesTheCommandAndNoFile(t *testing.T) {
	root := t.TempDir()
	t.Setenv("TAKEN_AWAY", "x")
	input := asked(`test "$TOKEN" = s3cret-token && echo right; echo "[$TAKEN_AWAY]"; cat > /dev/null`,
		record("environment", "TOKEN=s3cret-token"), record("environment", "TAKEN_AWAY="), record("input", "s3cret-input"))
	answer := ask(t, input, "run", root, "job", "me")
	if said(answer, "o") != "right\n[]\n" {
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
	answer := ask(t, asked(line, record("secret", "token-1")), "run", root, "job", "me")
	if said(answer, "o") != "fatal: https://u:***@host\nlast ***" {
		t.Fatal(answer)
	}
	log, _ := filepath.Glob(filepath.Join(root, "job", "log-*"))
	if data, _ := os.ReadFile(log[0]); bytes.Contains(data, []byte("token-1")) {
		t.Fatal(string(data))
	}
}

func TestAJobOutlivesTheOneWhoAskedAndIsTakenUpWithNoLineLostOrDoubled(t *testing.T) {
	root := t.TempDir()
	wanted := "1\n2\n3\n4\n5\n6\n7\n8\n"
	first, out := begin(t, asked("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.15; done"), "run", root, "job", "me")
	buffer := make([]byte, 4096)
	got := ""
	for !strings.Contains(said(got, "o"), "3") {
		count, err := out.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buffer[:count])
	}
	first.Process.Kill()
	first.Wait()
	time.Sleep(200 * time.Millisecond)
	begun, _ := parseStatus(strings.TrimPrefix(said(got, "h"), "way started\n"))
	start := strings.Index(got, "reason \n") + len("reason \n")
	offset := len(got) - start
	rest := ask(t, "", "follow", root, "job", "me", begun.instance, strconv.Itoa(offset))
	if text := said(got[start:]+rest, "o"); text != wanted {
		t.Fatalf("%q", text)
	}
}

func TestASecondOneWhoAsksFollowsTheFirstOnesJobFromItsBeginning(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	line := "echo began >> " + file + "; echo one; sleep 0.6; echo two"
	_, _ = begin(t, asked(line), "run", root, "job", "me")
	eventually(t, "the job begins", func() bool { data, _ := os.ReadFile(file); return len(data) > 0 })
	answer := ask(t, asked(line), "run", root, "job", "me")
	if said(answer, "o") != "one\ntwo\n" || !strings.HasPrefix(said(answer, "h"), "way joined\n") {
		t.Fatal(answer)
	}
	if data, _ := os.ReadFile(file); string(data) != "began\n" {
		t.Fatalf("it ran more than once: %q", data)
	}
}

func TestTenWhoAskAtOnceGetOneJob(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	answers := make(chan string, 10)
	for i := 0; i < 10; i++ {
		go func() {
			made := helper(t, "run", root, "job", "me")
			made.Stdin = strings.NewReader(asked("echo began >> " + file + "; sleep 1; echo done"))
			out, _ := made.CombinedOutput()
			answers <- said(string(out), "o")
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

func TestAnotherOnesJobThatEndedMeanwhileIsFollowedAndNotCalledOneThatDidNotBegin(t *testing.T) {
	job := folder{t.TempDir(), "job"}
	os.Mkdir(job.path("."), 0o700)
	held, err := lock(job.path("lock"), true) // the other one's watcher
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() {
		job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
		held.Close()
	})
	found, way, code := start(job, []byte(asked("echo twice > "+job.path("twice"))), "")
	if code != exitOK || way != "joined" || found.instance != "1-other" {
		t.Fatal(found, way, code)
	}
}

func TestAWatcherThatComesAfterAnotherOnesJobDoesNotRunItAgain(t *testing.T) {
	job := folder{t.TempDir(), "job"}
	os.Mkdir(job.path("."), 0o700)
	job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
	ran := filepath.Join(t.TempDir(), "ran")
	for seen, runs := range map[string]bool{"": false, "1-before": false, "1-other": true} {
		job.write(status{instance: "1-other", pid: 1, state: "ended", how: "exit"})
		os.Remove(ran)
		made := helper(t, "serve", job.jobs, job.id, seen)
		made.Stdin = strings.NewReader(asked("touch " + ran))
		made.Run()
		if _, err := os.Stat(ran); (err == nil) != runs {
			t.Errorf("seen %q: ran %v", seen, err == nil)
		}
	}
}

func TestOnAFullDiskTheEndOfAJobIsToldWhateverItHasSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk of its own needs root")
	}
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) })
	// Short lines, each a frame of its own, fill what waits for the end to its very limit.
	line := "cd " + root + "; cat /dev/zero > full 2>/dev/null; i=0; while [ $i -lt 9000 ]; do echo no space left on device $i; i=$((i+1)); done; exit 3"
	answer := ask(t, asked(line), "run", root, "job", "me")
	if !strings.Contains(said(answer, "x"), "how exit\ncode 3\n") || !strings.Contains(said(answer, "o"), "no space left on device 100\n") {
		t.Fatal(said(answer, "x"))
	}
}

func TestAResultWithoutAProductIsTakenOnceOnly(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "count")
	input := asked("echo vetted >> " + file)
	ask(t, input, "run", root, "job", "me")
	os.Remove(filepath.Join(root, "job", "taken")) // nobody was told
	for _, way := range []string{"way taken\n", "way started\n"} {
		if answer := ask(t, input, "run", root, "job", "me"); !strings.HasPrefix(said(answer, "h"), way) {
			t.Fatal(answer)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != "vetted\nvetted\n" {
		t.Fatalf("%q", data)
	}
}

func TestAProductThatNobodyHasSeenToIsTakenWithItsOutput(t *testing.T) {
	root, product := t.TempDir(), filepath.Join(t.TempDir(), "product")
	input := asked("echo made; touch "+product, record("product", product))
	first, _ := begin(t, input, "run", root, "job", "me")
	eventually(t, "the product", func() bool { _, err := os.Stat(product); return err == nil })
	first.Process.Kill() // as its controller would be
	first.Wait()
	job := folder{root, "job"}
	eventually(t, "the end", func() bool { found, ok := job.read(); return ok && found.state == "ended" })
	os.Remove(job.path("taken"))
	for who, told := range map[string]string{"a": "told first\n", "b": "told before\n"} {
		if who == "b" { // in whatever order a map is gone through, and again over another connection
			ask(t, input, "run", root, "job", "a")
		}
		answer := ask(t, input, "run", root, "job", who)
		if !strings.HasPrefix(said(answer, "h"), "way taken\n") || said(answer, "o") != "made\n" || !strings.HasPrefix(said(answer, "x"), told) {
			t.Fatal(answer)
		}
	}
	os.Remove(product) // somebody has put it where it belongs
	if answer := ask(t, input, "run", root, "job", "me"); !strings.HasPrefix(said(answer, "h"), "way started\n") {
		t.Fatal("taken although its product is gone: " + answer)
	}
}

func TestAFailureIsNeverTakenForAResult(t *testing.T) {
	root := t.TempDir()
	ask(t, asked("exit 1"), "run", root, "job", "me")
	os.Remove(filepath.Join(root, "job", "taken"))
	if answer := ask(t, asked("exit 1"), "run", root, "job", "me"); !strings.HasPrefix(said(answer, "h"), "way started\n") {
		t.Fatal(answer)
	}
}

// nap is a command that takes long, told from those of other runs of these tests on this machine.
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
	answer := ask(t, input, "run", root, "job", "me")
	if said(answer, "o") != "begun\n" || !strings.Contains(said(answer, "x"), "how timeout\n") {
		t.Fatal(answer)
	}
	if left := processes(7711); left != 0 {
		t.Fatalf("%d left", left)
	}
}

func TestCancelEndsEveryProcessAndTellsTheOneWhoFollows(t *testing.T) {
	root := t.TempDir()
	_, out := begin(t, asked("(setsid "+nap(7722)+" &) ; "+nap(7722)), "run", root, "job", "me")
	eventually(t, "the job begins", func() bool { return processes(7722) >= 2 })
	if told := ask(t, "", "list", root); !strings.HasPrefix(told, "@job\tjob\trunning\t") {
		t.Fatal(told)
	}
	told := ask(t, "", "cancel", root, "all")
	if !strings.HasPrefix(told, "@job\tjob\tended\tcancelled\t") || !strings.HasSuffix(told, "\ta job\n") {
		t.Fatal(told)
	}
	if left := processes(7722); left != 0 {
		t.Fatalf("%d left", left)
	}
	answer, _ := readAll(out)
	if !strings.Contains(said(string(answer), "x"), "how cancelled\n") {
		t.Fatal(string(answer))
	}
	if told := ask(t, "", "cancel", root, "all"); told != "" {
		t.Fatal("there was nothing left to cancel: " + told)
	}
}

func TestAWatcherThatDoesNotListenIsEndedAllTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the ten seconds that a watcher has")
	}
	root := t.TempDir()
	_, _ = begin(t, asked(nap(7744)), "run", root, "job", "me")
	job := folder{root, "job"}
	eventually(t, "the job begins", func() bool { return processes(7744) > 0 })
	found, _ := job.read()
	syscall.Kill(found.pid, syscall.SIGSTOP)
	told := ask(t, "", "cancel", root, "job")
	if !strings.HasPrefix(told, "@job\tjob\tended\tdead\t") || processes(7744) != 0 {
		t.Fatal(told)
	}
}

func TestADeadWatcherIsToldAsSuchAndItsProcessesAreGoneBeforeTheNextStart(t *testing.T) {
	root := t.TempDir()
	_, out := begin(t, asked("sh -c '"+nap(7733)+"; true'; true"), "run", root, "job", "me")
	job := folder{root, "job"}
	eventually(t, "the job begins", func() bool { return processes(7733) > 0 })
	found, _ := job.read()
	syscall.Kill(found.pid, syscall.SIGKILL)
	answer, _ := readAll(out)
	if !strings.Contains(said(string(answer), "x"), "how dead\n") {
		t.Fatal(string(answer))
	}
	again := ask(t, asked("pgrep -fc '"+napping(7733)+"'; true"), "run", root, "job", "me")
	if said(again, "o") != "0\n" {
		t.Fatal(again)
	}
}

func TestWhatACommandLeavesBehindEndsWithIt(t *testing.T) {
	root := t.TempDir()
	began := time.Now()
	answer := ask(t, asked(nap(7755)+" & echo done"), "run", root, "job", "me")
	if said(answer, "o") != "done\n" || time.Since(began) > 5*time.Second || processes(7755) != 0 {
		t.Fatal(answer)
	}
}

func TestOldJobsArePrunedAndLivingOnesStay(t *testing.T) {
	root := t.TempDir()
	_, _ = begin(t, asked("sleep 5"), "run", root, "living", "me")
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

func TestOutputsThatNobodyTookGoAfterADayAndNothingElseDoes(t *testing.T) {
	builder := t.TempDir()
	root, tmp := filepath.Join(builder, "jobs"), filepath.Join(builder, "tmp")
	product := record("product", filepath.Join(tmp, "build-alive", "program"))
	_, _ = begin(t, asked(nap(7766), product), "run", root, "living", "me")
	eventually(t, "the job begins", func() bool { return processes(7766) > 0 })
	t.Cleanup(func() { ask(t, "", "cancel", root, "all") })
	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{"build-old", "build-alive", "build-young", "generated-old", "unpack-old"} {
		os.MkdirAll(filepath.Join(tmp, name), 0o700)
		os.WriteFile(filepath.Join(tmp, name, "program"), nil, 0o600)
		if name != "build-young" {
			os.Chtimes(filepath.Join(tmp, name), old, old)
		}
	}
	ask(t, asked("true"), "run", root, "next", "me")
	var left []string
	entries, _ := os.ReadDir(tmp)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if strings.Join(left, " ") != "build-alive build-young unpack-old" {
		t.Fatal(left)
	}
}

func TestRequestsAreTakenWholeOrNotAtAll(t *testing.T) {
	whole := asked("echo hi", record("environment", "A=1\nB"), record("input", "\x00\n"))
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
	for _, wrong := range []string{"", "line x\n", record("timeout", "0") + record("line", "x"), asked("x", record("unknown", "x"))} {
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
