export const STYLE_SHEET = `:root {
  color-scheme: light dark;
  --page: #eef3f5; --card: #fff; --text: #10242e; --soft: #54707d; --line: #d3dfe4; --accent: #0b7285;
  --bad: #c92a2a; --bad-soft: #ffe3e3; --good: #2b8a3e; --good-soft: #e3f7e7;
  --node-0: #e8590c; --node-1: #0b7285; --node-2: #4263eb; --node-3: #66c2d0; --node-4: #845ef7; --node-5: #94d82d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0c181e; --card: #14252d; --text: #e4eff3; --soft: #93aeba; --line: #28404b; --accent: #3bc9db;
    --bad: #ff8787; --bad-soft: #43191c; --good: #69db7c; --good-soft: #14351d;
    --node-0: #ff922b; --node-1: #22b8cf; --node-2: #5c7cfa; --node-3: #0b7285; --node-4: #b197fc; --node-5: #a9e34b;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--page); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1, h2, p, ul, fieldset { margin: 0; padding: 0; border: 0; }
h1 { font-size: 1.5rem; letter-spacing: -.02em; }
h2 { font-size: 1.05rem; margin-bottom: .6rem; }
h2 small { display: block; font-weight: 400; font-size: .85rem; color: var(--soft); }
.top { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; margin-bottom: .8rem; }
.top p { flex: 1 1 24rem; color: var(--soft); }
.top strong { color: var(--text); }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1.4rem; align-items: center; margin-bottom: .8rem; }
.controls label { display: flex; gap: .4rem; align-items: center; }
.lag { flex: 1 1 18rem; max-width: 30rem; }
.lag input { flex: 1; min-width: 6rem; }
.failover { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin-bottom: .8rem; }
.failover p { flex: 1 1 20rem; font-size: .9rem; color: var(--soft); }
.failover button { border-color: var(--bad); color: var(--bad); font-weight: 600; }
.failover button:disabled { border-color: var(--line); color: var(--soft); cursor: not-allowed; }
select { font: inherit; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); color: var(--text); max-width: 100%; }
output { font-variant-numeric: tabular-nums; }
input, button { font: inherit; accent-color: var(--accent); }
button { padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); color: var(--text); cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

.policies { display: grid; grid-template-columns: repeat(3, 1fr); gap: .8rem; }
.policies legend { position: absolute; clip-path: inset(50%); }
.policy { display: flex; flex-direction: column; gap: .35rem; padding: .8rem 1rem; background: var(--card); border: 2px solid var(--line); border-radius: .8rem; cursor: pointer; }
.policy:has(:checked) { border-color: var(--accent); box-shadow: 0 2px 12px #0b72852e; }
.name { font-weight: 650; }
.about { flex: 1; font-size: .85rem; color: var(--soft); }
.score { display: flex; gap: .6rem; align-items: center; font-size: .85rem; }
.score b { font-size: 2rem; line-height: 1.1; font-variant-numeric: tabular-nums; }
.score[data-verdict=none] b { color: var(--soft); }
.score[data-verdict=good] b { color: var(--good); }
.score[data-verdict=bad], .score[data-verdict=bad] b { color: var(--bad); }
.bar { display: flex; height: .6rem; overflow: hidden; border-radius: .3rem; background: var(--line); }
.bar i { flex: 0 1 0; transition: flex-grow .3s; }
.facts { display: flex; justify-content: space-between; gap: .5rem; font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: .5rem 0 1rem; font-size: .8rem; color: var(--soft); }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin-right: .3rem; border-radius: .2rem; }
.node-0 { background: var(--node-0); } .node-1 { background: var(--node-1); } .node-2 { background: var(--node-2); }
.node-3 { background: var(--node-3); } .node-4 { background: var(--node-4); } .node-5 { background: var(--node-5); }
.node-cache { background: var(--good); }
.node-6 { background: var(--node-1); } .node-7 { background: var(--node-2); } .node-8 { background: var(--node-3); } .node-9 { background: var(--node-4); }

.panels { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; align-items: start; }
.panel { padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .8rem; min-width: 0; }
.panel:nth-child(2) .verdict { margin-top: 0; }
.post { display: flex; gap: .5rem; margin-bottom: .7rem; }
.post input { flex: 1; min-width: 0; padding: .35rem .7rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--page); color: var(--text); }
.post button { border-color: var(--accent); background: var(--accent); color: var(--card); font-weight: 600; }
.verdict { padding: .5rem .7rem; margin-bottom: .7rem; border-radius: .5rem; background: var(--page); color: var(--soft); font-size: .9rem; }
.verdict.bad { background: var(--bad-soft); color: var(--bad); }
.verdict.lost { background: var(--page); color: var(--text); }
.verdict.good { background: var(--good-soft); color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .6rem; list-style: none; }
.tiles li { overflow: hidden; border: 1px solid var(--line); border-radius: .6rem; font-size: .8rem; }
.tiles svg { display: block; width: 100%; aspect-ratio: 4 / 3; }
.tiles span { display: block; padding: .3rem .5rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.tiles .missing { display: flex; flex-direction: column; border: 2px dashed var(--bad); background: var(--bad-soft); color: var(--bad); }
.missing em { flex: 1; display: grid; place-items: center; aspect-ratio: 4 / 3; padding: .4rem; text-align: center; font-style: normal; font-weight: 700; }
main { padding: 1rem; }

@media (max-width: 44rem) {
  body { padding: .7rem; }
  .policies { grid-template-columns: 1fr; gap: .5rem; }
  .policy { padding: .5rem .8rem; gap: .2rem; }
  .score b { font-size: 1.5rem; }
  .panels { gap: .5rem; }
  .panel { padding: .7rem; }
  .post { flex-wrap: wrap; }
  .post input { flex: 1 1 100%; }
  .tiles { grid-template-columns: repeat(auto-fill, minmax(5rem, 1fr)); }
}
`
